"""Cohorts from real chests: every chest gives several pairs, half of them with emboli, split by chest."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cpmn
from cpmn.cohort.phantom import COLUMNS, paired_row
from cpmn.dicom.scanners import CHEST_MODEL
from cpmn.errors import CpmnError
from cpmn.files import read_json, sha256_of_json, write_json, write_table
from cpmn.phantom.chest.emboli import ChestClot, draw_chest_emboli
from cpmn.phantom.chest.scan import ChestScan, scan_ctpa, scan_nct
from cpmn.phantom.chest.source import Chest, read_chest
from cpmn.phantom.dicom import write_series
from cpmn.phantom.difficulty import MIXTURES
from cpmn.phantom.motion import Motion, draw_motion
from cpmn.phantom.render import Grid
from cpmn.phantom.scan import grid_image
from cpmn.phantom.stage import clear, is_finished, refuse_other_cohort
from cpmn.phantom.streams import random_stream
from cpmn.volume.images import write_image

FEWEST_PAIRS = 4  # per chest: where two parts share one chest, each needs both classes
logger = logging.getLogger(__name__)
LIMITS = (
    "Real anatomy, simulated disease: the chest is a patient's, and everything else is made. Vessels were found by "
    "their shape; arteries and veins are told apart by the bronchi beside them, which is a guess in small vessels; the "
    "place of the central arteries is assumed from the carina, not seen."
)


@dataclass(frozen=True)
class Pair:
    """One row of the cohort."""

    pair_id: str
    chest: str
    label: int
    split: str
    group: str


def write_chest_cohort(
    series: Sequence[Path],
    folder: Path,
    *,
    pairs: int,
    seed: int,
    difficulty: str,
    shrink: int,
    done: Callable[[str, bool], None] = lambda pair, made: None,
) -> None:
    """Write pairs of every chest and `folder/cohort.csv`. Pairs that are there with the same settings are kept.

    Parameters
    ----------
    series : real non-contrast chests: folders of DICOM files, or image files.
    pairs : pairs per chest, at least FEWEST_PAIRS; every second one has emboli.
    difficulty : of the clots on the NCT, see `cpmn.phantom.difficulty`.
    shrink : in-plane voxels are averaged in blocks of so many by so many.
    done : called with each pair's id, and whether it was made now (False: found finished with the same settings).

    Raises CpmnError for too few chests or pairs, a chest that is given twice, an unknown difficulty or another cohort
    in `folder`, and as `read_chest`.
    """
    _refuse_settings(difficulty, shrink)
    refuse_other_cohort(folder)
    rows = chest_rows(len(series), pairs)
    _refuse_repeated(series)
    chests = list(zip(series, dict.fromkeys(row.chest for row in rows), strict=True))
    keys = {name: _settings_key(path, seed, difficulty, shrink) for path, name in chests}
    kept = [row for row in rows if is_finished(folder / row.pair_id, keys[row.chest])]
    scans = _known_scans(chests, kept, folder)
    for path, name in chests:
        for row in (row for row in kept if row.chest == name):
            done(row.pair_id, False)
        if missing := [row for row in rows if row.chest == name and row not in kept]:
            chest = _read_another(path, name, shrink, scans)
            for row in missing:
                write_pair(chest, row, folder / row.pair_id, seed=seed, difficulty=difficulty, settings=keys[name])
                done(row.pair_id, True)
    _write_sheet(rows, folder / "cohort.csv")


def _refuse_settings(difficulty: str, shrink: int) -> None:
    if difficulty not in MIXTURES:
        raise CpmnError(f"difficulty '{difficulty}' is not known. Choose one of {', '.join(MIXTURES)}.")
    if shrink < 1:
        raise CpmnError(f"--shrink is {shrink}; it is the number of voxels to average along x and y, at least 1.")


def _known_scans(chests: Sequence[tuple[Path, str]], kept: Sequence[Pair], folder: Path) -> dict[str, Path]:
    """Places by hash of the scans that the `kept` pairs, which are not read again, were made of."""
    scans: dict[str, Path] = {}
    for path, name in chests:
        for row in (row for row in kept if row.chest == name):
            _add_scan(scans, read_json(folder / row.pair_id / "phantom.json")["source"]["source_sha256"], path)
    return scans


def _read_another(path: Path, name: str, shrink: int, scans: dict[str, Path]) -> Chest:
    """A chest whose scan is none of `scans`, places by hash, to which it is added. Raises CpmnError if it is."""
    chest = read_chest(path, name, shrink)
    _add_scan(scans, chest.facts["source_sha256"], path)
    return chest


def _add_scan(scans: dict[str, Path], digest: str, path: Path) -> None:
    if (first := scans.setdefault(digest, path)) is not path:
        raise CpmnError(f"{path} holds the same scan as {first}: training and testing would share a chest.")


def _refuse_repeated(series: Sequence[Path]) -> None:
    """Raise CpmnError if two chests are one folder or file."""
    places = [Path(path).resolve() for path in series]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise CpmnError(f"{series[index]} is given twice: training and testing would share a chest.")


def _settings_key(series: Path, seed: int, difficulty: str, shrink: int) -> str:
    """Hash of all that a pair's files depend on; of the chest, where it lies."""
    settings = {"series": str(Path(series).resolve()), "seed": seed, "difficulty": difficulty, "shrink": shrink}
    return sha256_of_json(settings | {"version": cpmn.__version__})


def chest_rows(chests: int, pairs: int) -> list[Pair]:
    """Who is in the cohort: the last chest tests, the one before validates, the others train.

    With two chests the first serves for training and validation both, in two groups: only testing is on an unseen
    chest. Raises CpmnError for fewer than two chests or FEWEST_PAIRS pairs.
    """
    if chests < 2 or pairs < FEWEST_PAIRS:
        raise CpmnError(
            f"{chests} chest(s) with {pairs} pairs each do not make a cohort that is split by chest. "
            f"Give at least 2 chests and at least {FEWEST_PAIRS} pairs."
        )
    return [_row(chest, pair, chests, pairs) for chest in range(chests) for pair in range(pairs)]


def write_pair(chest: Chest, row: Pair, folder: Path, *, seed: int, difficulty: str, settings: str) -> None:
    """Write one pair with the files of a built-in phantom patient (`cpmn.phantom.stage.write_patient`).

    `settings` is the hash by which a finished pair is known again.
    """
    stream = {name: random_stream(seed, row.pair_id, f"chest {name}") for name in _STREAMS}
    clots = (
        draw_chest_emboli(chest.vessels, chest.grid.spacing, difficulty, stream["emboli"], stream["contrast"])
        if row.label
        else []
    )
    motion = draw_motion(stream["motion"], chest.scale, chest.points)
    ctpa = scan_ctpa(chest, clots, stream["ctpa"], stream["ctpa noise"])
    nct = scan_nct(chest, clots, motion, stream["nct"], stream["nct noise"])
    clear(folder)
    for scan in (ctpa, nct):
        write_series(scan, row.pair_id, seed, folder / scan.phase, model=CHEST_MODEL)
    if row.label:
        write_image(grid_image(ctpa.clots, ctpa.grid), folder / "ctpa_mask.nii.gz")
    write_image(grid_image(nct.clots, nct.grid), folder / "nct_truth.nii.gz")
    _write_motion(motion, nct.grid, folder / "motion.nii.gz")
    described = _describe(chest, row, clots, motion, (ctpa, nct), seed, difficulty)
    write_json(folder / "phantom.json", described | {"settings": settings})
    logger.info("%s: label %d, %d clots", row.pair_id, row.label, len(clots))


_STREAMS = ("emboli", "contrast", "motion", "ctpa", "ctpa noise", "nct", "nct noise")


def _row(chest: int, pair: int, chests: int, pairs: int) -> Pair:
    name = f"chest{chest + 1}"
    split, group = "train", name
    if chest == chests - 1:
        split = "test"
    elif chests == 2:
        split = "validation" if pair >= pairs - 2 else "train"  # the last two: one of each class
        group = f"{name}-{split}"
    elif chest == chests - 2:
        split = "validation"
    return Pair(f"{name}-{pair + 1:02d}", name, (pair + 1) % 2, split, group)


def _describe(
    chest: Chest,
    row: Pair,
    clots: list[ChestClot],
    motion: Motion,
    scans: tuple[ChestScan, ...],
    seed: int,
    difficulty: str,
) -> dict[str, Any]:
    return {
        "synthetic": "disease",
        "limits": LIMITS,
        "patient_id": row.pair_id,
        "label": row.label,
        "seed": seed,
        "difficulty": difficulty,
        "source": chest.facts,
        "scale": chest.scale,
        "noise_hu_of_source": chest.texture.sd,
        "blood_hu": chest.vessels.blood_hu,
        "motion": {"meaning": "NCT point x shows CTPA point x + u(x); mm, LPS", **asdict(motion)},
        "clots": [_clot(clot, scans) for clot in clots],
    }


def _write_motion(motion: Motion, grid: Grid, path: Path) -> None:
    x, y, z = (axis.astype(np.float32) for axis in grid.axes())
    field = motion.displacement(x[None, None, :], y[None, :, None], z[:, None, None])
    write_image(grid_image(np.ascontiguousarray(field, np.float32), grid, vector=True), path)


def _clot(clot: ChestClot, scans: tuple[ChestScan, ...]) -> dict[str, Any]:
    return {
        "id": clot.clot_id,
        "place": clot.place,
        "nct_hu_over_blood": clot.over_blood_hu,
        "ctpa_hu": clot.ctpa_hu,
        "ml": {scan.phase: scan.clot_ml[clot.clot_id] for scan in scans},
        "voxels": {scan.phase: int((scan.clots == clot.clot_id).sum()) for scan in scans},
    }


def _write_sheet(rows: list[Pair], path: Path) -> None:
    placed = [paired_row(row.pair_id, row.label) | {"split": row.split, "group": row.group} for row in rows]
    write_table(path, [*COLUMNS, "split", "group"], placed)
