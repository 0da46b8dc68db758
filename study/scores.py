"""Scores of a locked cohort (`few`, `again`), read once by a training, as rows of a table of patients (`study.tables`).

The score is the network's class probability. The workflow's own score is fitted on calibration patients, and with few
of them its fit would differ from network to network by chance. `evidence` is its other feature: log mL of marks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from tqdm import tqdm

from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.config.root import Config
from cpmn.errors import CpmnError
from cpmn.files import read_json
from cpmn.job.status import exclusions
from cpmn.model.ensemble import load_folds, read_crop
from cpmn.model.plan import PLAN_FILE
from cpmn.phantom.difficulty import ISODENSE
from cpmn.scoring.overlap import dice
from cpmn.volume.images import read_image, voxel_ml
from study.cohort import MASKS, RULE, TRAINING, part_of, phantom_name
from study.few import (
    ALL,
    ALONE,
    EVERY,
    HARD,
    OUTLINERS,
    PLAIN,
    TEACHER,
    TEACHER_HARD,
    UNSIMULATED,
    WALL,
    variant_of,
)
from study.tables import PATIENTS, RUNS, kept, stacked, write

AGES = ("acute", "chronic")
"""Of the phantom's clots."""
ENDINGS = {f"_{HARD}_unsimulated": UNSIMULATED, f"_{HARD}": WALL, "": PLAIN}
"""Of names in the tables, by that of the variant."""


def read_once(results: Path, variant: str, config: Config, folder: Path, judged: Path | None = None) -> tuple[int, int]:
    """Add a training's scores of the locked patients to the table in `folder`; how many were read, and how many not.

    Patients that preprocessing excluded have nothing to read: they are left out.

    results : of a folder in which `study/Snakefile` trained `variant`.
    judged : results of one in which it preprocessed the patients to read; None is the same folder.

    Raises CpmnError where this training has read them already.
    """
    judged = judged or results
    name, seed = named(results, variant)
    old = kept(PATIENTS, folder)
    if not old.empty and f"{name}-s{seed}" in set(old["run"]):
        raise CpmnError(f"{folder / PATIENTS} holds {name}, draw {seed}: a locked cohort is read once.")
    models = load_folds(results / "train" / variant, 1, config.evaluate.device)
    patients = [p for p in load_cohort(judged.parent / "cohort.csv") if p.split == "test"]
    excluded = exclusions([p.patient_id for p in patients], judged)
    there = [p for p in patients if p.patient_id not in excluded]
    run = {"difficulty": "mixed", "run": f"{name}-s{seed}", "variant": name, "seed": seed}
    rows = [
        run | {"cohort": "test"} | _row(patient, judged, models, config)
        for patient in tqdm(there, desc=f"{name}, draw {seed}", disable=None)
    ]
    table = stacked(old, pd.DataFrame(rows)).sort_values(["patient_id", "run"], kind="stable")
    write(table, folder / PATIENTS)
    taken = pd.DataFrame([run | cost(results, variant, taught=name.startswith(TEACHER))])
    write(stacked(kept(RUNS, folder), taken).sort_values("run", kind="stable"), folder / RUNS)
    return len(rows), len(excluded)


def cost(results: Path, variant: str, taught: bool) -> dict[str, float]:
    """Steps and wall-clock minutes of a training, with those of the network of `annotate` where that `taught` it."""
    trained = [results / "train" / variant, *([results / "annotate"] if taught else [])]
    last = [pd.read_csv(folder / "fold-0/history.csv").iloc[-1] for folder in trained]
    steps, seconds = (sum(float(one[column]) for one in last) for column in ("step", "seconds"))
    return {"steps": int(steps), "training_minutes": round(seconds / 60, 1)}


def named(results: Path, variant: str) -> tuple[str, int]:
    """Name of a training, which says who outlined and how many are outlined exactly, and its draw.

    Where all are outlined its seed stands for the draw: 1 in `nct_only_hard-s1`.

    Raises CpmnError for a training on outlines of another kind of network than itself.
    """
    masks = read_json(results.parent / MASKS)
    variant, _, seed = variant.partition("-s")
    suffix, ending = _recipe(variant)
    plain = variant.removesuffix(suffix)
    if masks["outlined"] is None:
        return variant_of(plain, 0, ending) if plain in EVERY else variant, int(seed or 0)
    if masks["own"] not in (None, RULE, variant.replace(ALL, ALONE)) or (masks["own"] and plain not in EVERY):
        raise CpmnError(f"{variant} does not learn from its own outlines, where {masks['own']} outlined.")
    by = _outliner(masks, results) + plain.removeprefix(ALL) if plain in EVERY else plain
    return variant_of(by, masks["outlined"], ending), masks["draw"]


def _recipe(variant: str) -> tuple[str, str]:
    """What ends a variant's name, and what the tables say instead."""
    return next(item for item in ENDINGS.items() if variant.endswith(item[0]))


def _outliner(masks: dict[str, Any], results: Path) -> str:
    """Who outlined: a network that teaches itself, the rule of thumb or `annotate`, by what its network learnt from."""
    if masks["own"]:
        return RULE if masks["own"] == RULE else "own"
    trained = read_json(results / "annotate/fold-0" / PLAN_FILE)["config"]
    return TEACHER_HARD if trained["sampling"].get("hard_fraction") else TEACHER


def _row(patient: Patient, results: Path, models: Any, config: Config) -> dict[str, Any]:
    crop = results / "crop" / patient.patient_id
    image, clots, lungs = (read_image(crop / f"{name}.nii.gz") for name in ("nct", "embolus", "lung"))
    found = read_crop(models, image, config.evaluate, lungs)
    ids = sitk.GetArrayFromImage(clots)
    truth = ids > 0
    marked = found.probability >= config.evaluate.segmentation_threshold
    assert patient.nct is not None
    facts = read_json(patient.nct.parent / "phantom.json")
    return {
        "patient_id": phantom_name(patient.patient_id),
        "label": patient.label,
        "score": found.class_probability,
        "evidence": found.features[0]["lesion"],
        "dice": dice(marked, truth) if patient.label else np.nan,
        "dice_visible": dice_visible(marked, ids, facts["clots"]),
        "reference_ml": float(truth.sum() * voxel_ml(image)),
        "predicted_ml": float(marked.sum() * voxel_ml(image)),
        "noise_hu": facts["noise_hu"]["nct"],
    }


def dice_visible(marked: np.ndarray, ids: np.ndarray, clots: Sequence[Mapping[str, Any]]) -> float:
    """Dice of the clots that stand out from blood on the NCT by more than `ISODENSE`; NaN where none does.

    Voxels of the others count neither as clot nor as marked, since nobody could tell.

    marked, ids : (z, y, x) boolean, and number of the clot or 0.
    clots : of `phantom.json`, by `id`.
    """
    visible = [clot["id"] for clot in clots if abs(clot["nct_hu_over_blood"]) > ISODENSE[1]]
    truth = np.isin(ids, visible)
    return dice(marked & (truth | (ids == 0)), truth) if truth.any() else np.nan


def measure_outlines(results: Path, folder: Path) -> dict[str, Any]:
    """Add to the table in `folder` how good a run's outlines are of training patients that no person outlined.

    Where all of these are outlined exactly it is of the validation patients, who never teach outlining here.

    `dice_ctpa` is that of what `annotate` outlined with the phantom's own clots on the CTPA, `dice_nct` that of the
    labels that the NCT pathway learns from with those on the NCT; means over the patients. `right` is the share of what
    is outlined on the CTPA (on the NCT where nothing is outlined there) that is clot, of all patients' volume, and
    `acute` and `chronic` the share of these clots that is outlined.
    """
    masks = read_json(results.parent / MASKS)
    by = _outliner(masks, results)
    read = [p for p in load_cohort(results.parent / "cohort.csv") if _unoutlined(p)]
    of_training = [p for p in read if part_of(p.patient_id) == "train"]
    left = exclusions([p.patient_id for p in read], results)
    rows = [_outline(p, results, masks, by) for p in of_training or read if p.patient_id not in left]
    ending = _recipe(masks["own"])[1] if by == "own" else WALL
    found = {"by": by if by == RULE else f"{by}-{ending}", "outlined": masks["outlined"], "draw": masks["draw"]}
    ml = sum((row.pop("ml") for row in rows), Counter())
    found |= {"patients": len(rows)} | {name: round(float(np.mean([r[name] for r in rows])), 4) for name in rows[0]}
    found["right"] = round(float(ml["clot"] / ml["outlined"]), 4) if ml["outlined"] else None
    found |= {age: round(float(ml[f"{age} outlined"] / ml[age]), 4) if ml[age] else None for age in AGES}
    table = stacked(kept(OUTLINERS, folder), pd.DataFrame([found])).drop_duplicates()
    write(table, folder / OUTLINERS)
    return found


def _unoutlined(patient: Patient) -> bool:
    """Whether a pair with PE that trains or validates has no outline."""
    return bool(patient.label and patient.ctpa and not patient.ctpa_mask and part_of(patient.patient_id) in TRAINING)


def _outline(patient: Patient, results: Path, masks: Mapping[str, Any], by: str) -> dict[str, Any]:
    name = patient.patient_id
    assert patient.ctpa is not None
    truth = patient.ctpa.parent
    carried = results / "propagate" / name / "embolus.nii.gz", truth / "nct_truth.nii.gz"
    found = {"dice_nct": _dice(*carried)}
    drawn = carried
    if by != "own":
        by_annotate = results / "annotate" / name / "embolus.nii.gz"
        drawn = Path(masks["folder"], f"{name}.nii.gz") if by == RULE else by_annotate, truth / "ctpa_mask.nii.gz"
        found["dice_ctpa"] = _dice(*drawn)
    ages = {clot["id"]: clot["age"] for clot in read_json(truth / "phantom.json")["clots"]}
    return found | {"ml": _volumes(*drawn, ages)}


def _dice(one: Path, other: Path) -> float:
    return dice(*(sitk.GetArrayFromImage(read_image(path)) > 0 for path in (one, other)))


def _volumes(outline: Path, truth: Path, ages: Mapping[int, str]) -> Counter[str]:
    """mL that are `outlined`, what of these is `clot`, and of the clots of an age all and what is outlined."""
    image = read_image(outline)
    marked, ids = sitk.GetArrayFromImage(image) > 0, sitk.GetArrayFromImage(read_image(truth))
    parts = {"outlined": marked, "clot": marked & (ids > 0)}
    for age in AGES:
        clots = np.isin(ids, [number for number, one in ages.items() if one == age])
        parts |= {age: clots, f"{age} outlined": clots & marked}
    return Counter({name: float(part.sum() * voxel_ml(image)) for name, part in parts.items()})
