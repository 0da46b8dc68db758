"""How well clots could be outlined on the NCT by readers who know the patient's anatomy exactly.

They subtract from the scan what they know of it, average the rest over artery alone, and mark what is brighter, or
brighter or darker, than a limit. The width of the average, the limit and which of both are chosen on every second
patient and used on the others. Beside them a network of `docs/protocol.md` on the same patients and voxels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import ndimage
from tqdm import tqdm

from benchmarks.kept import kept
from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.config.phantom import PhantomConfig
from cpmn.config.root import load_config
from cpmn.files import sha256_of_files, sha256_of_json
from cpmn.job.dependencies import source_files
from cpmn.phantom.anatomy import build_anatomy, without_emboli
from cpmn.phantom.image import clean_image
from cpmn.phantom.known import known_of
from cpmn.phantom.scan import scan_phase
from cpmn.scoring import metrics
from cpmn.scoring.overlap import dice
from cpmn.volume.voxels import smoothed_inside
from study import tables

SIGMAS_MM = (0.5, 0.75, 1.0, 1.5, 2.0)
LIMITS_HU = tuple(range(3, 20))
ARTERY = 0.5  # a voxel is artery where at least this share of it is, as a voxel is clot in the truth
PATIENTS = 20  # with PE
STUDIES = (("learnable", "development", 2001), ("mixed", "opened", 3002), ("learnable", "test", 4001))
"""Cohorts of the study by seed: two that choices were made on, and a locked one."""
NETWORK = {"difficulty": "learnable", "run": "nct_only-s0"}  # of the locked one, which it read once
CONFIG = Path(__file__).parents[1] / "config" / "benchmark.yaml"
CACHE = Path("results/benchmarks/outline")


def measure() -> Iterator[dict[str, Any]]:
    """Rows (difficulty, cohort, reader, Dice with interval over patients)."""
    for difficulty, cohort, seed in STUDIES:
        phantom = load_config(yaml.safe_load(CONFIG.read_text(encoding="utf-8"))).phantom
        config = phantom.model_copy(update={"seed": seed, "difficulty": difficulty})
        names = [patient_id(n) for n in range(2 * PATIENTS) if phantom_label(seed, n)][:PATIENTS]  # a half has PE
        where = {"difficulty": difficulty, "cohort": cohort}
        yield from (where | row for row in reader_rows(config, names, CACHE / difficulty / cohort))
        if cohort == "test":
            yield where | network_row(names)


def reader_rows(config: PhantomConfig, names: Sequence[str], cache: Path) -> Iterator[dict[str, Any]]:
    """The readers' rows (reader, Dice with interval) of one cohort's patients."""
    key = sha256_of_json([config.model_dump(mode="json"), sha256_of_files(source_files("benchmarks.outline"))])
    records = [
        kept(cache / f"{name}.json", key, lambda name=name: outline(config, name))
        for name in tqdm(names, unit="patient", disable=None)
    ]
    for reader in records[0]["dice"]:
        chosen = cross_fitted(np.array([record["dice"][reader] for record in records]))
        yield {"reader": reader, **metrics.mean(chosen)}


def network_row(names: Sequence[str]) -> dict[str, Any]:
    """The row of the network that read these patients of the locked cohort."""
    read = tables.where(tables.read(tables.PATIENTS), cohort="test", **NETWORK).set_index("patient_id")["dice"]
    return {"reader": "network ({difficulty}/{run})".format(**NETWORK), **metrics.mean(read.loc[list(names)].tolist())}


def outline(config: PhantomConfig, name: str) -> dict[str, Any]:
    """Dice of a PE patient by reader: lists (sides, sigmas, limits), see `dices`."""
    anatomy = build_anatomy(config, name)
    known, scan = known_of(config, anatomy), scan_phase(config, anatomy, "nct")
    even = clean_image(config, known.canvas, without_emboli(anatomy), "nct", even_blood=True)
    artery, truth = known.artery >= ARTERY, scan.clots > 0
    box = ndimage.find_objects((artery | truth).astype(np.uint8))[0]
    rests = {
        "knows anatomy and blood": scan.hu - known.twin,
        "knows anatomy, takes blood for even": scan.hu - even,
        "knows anatomy, takes blood for even; no noise": scan.clean - even,
    }
    spacing = known.grid.spacing
    return {"dice": {reader: dices(rest[box], artery[box], truth[box], spacing) for reader, rest in rests.items()}}


def dices(rest: np.ndarray, artery: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> list:
    """Dice (sides, sigmas, limits) of marking artery where the `rest` in HU (z, y, x), averaged in it, exceeds a limit.

    The first side is the rest as it is, the second its absolute value.
    """
    averages = [smoothed_inside(rest, artery, [sigma / step for step in spacing[::-1]]) for sigma in SIGMAS_MM]
    return [
        [[dice((side(average) > limit) & artery, truth) for limit in LIMITS_HU] for average in averages]
        for side in (np.positive, np.abs)
    ]


def cross_fitted(values: np.ndarray) -> np.ndarray:
    """Each patient's Dice (n,) at the setting that is best on average in the other half, from those at all (n, ...)."""
    values = values.reshape(len(values), -1)
    chosen = np.empty(len(values))
    for half in (0, 1):
        chosen[half::2] = values[half::2, values[1 - half :: 2].mean(axis=0).argmax()]
    return chosen
