"""Cohorts from their seeds: one per difficulty to train on, and NCTs with exact truth to score on."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.plan import Difficulty, Plan, Role, cohort_patients, data_root
from benchmarks.evidence.plan import phantom_config as phantom_of
from benchmarks.truth import write_truth_cohort
from cpmn.anatomy.lungbox import find_box
from cpmn.cohort.phantom import patient_id, patient_index, phantom_label
from cpmn.config.crop import CropConfig
from cpmn.config.phantom import PhantomConfig
from cpmn.files import read_json, read_table, write_json, write_table
from cpmn.phantom.anatomy import build_anatomy
from cpmn.phantom.cohort import make_cohort
from cpmn.phantom.scan import grid_image, scan_phase
from cpmn.phantom.stage import describe
from cpmn.volume.box import crop_image
from cpmn.volume.images import write_image

SHEET, SPLIT_SHEET, TRUTH_SHEET = "cohort.csv", "cohort-split.csv", "cohort-truth.csv"


def training_folder(difficulty: Difficulty) -> Path:
    """DICOM and sheets of the training cohort."""
    return data_root() / f"train-{difficulty}"


def run_folder(difficulty: Difficulty, exact: bool) -> Path:
    """Where the workflow preprocesses the training cohort; `exact` with the truth for annotation."""
    return data_root() / f"run-{difficulty}{'-truth' if exact else ''}"


def patients_folder(plan: Plan, difficulty: Difficulty, role: Role) -> Path:
    """Where the patients of a scoring cohort lie: by its seed, since a cohort may change its role."""
    return data_root() / "patients" / cohort_name(plan, difficulty, role)


def cohort_name(plan: Plan, difficulty: Difficulty, role: Role) -> str:
    """`DIFFICULTY-SEED`."""
    return f"{difficulty}-{plan.seeds[role][difficulty]}"


def training_names(plan: Plan) -> list[str]:
    """Patients of a training cohort."""
    return [patient_id(index) for index in range(plan.training_patients)]


def training_labels(plan: Plan, difficulty: Difficulty) -> dict[str, int]:
    """Label by patient of a training cohort."""
    seed = phantom_of(plan, difficulty, "train").seed
    return {name: phantom_label(seed, patient_index(name)) for name in training_names(plan)}


def make_training_cohort(plan: Plan, difficulty: Difficulty) -> None:
    """Write the training cohort's DICOM and `cohort.csv`; patients that are there are kept."""
    config = phantom_of(plan, difficulty, "train").model_copy(update={"patients": plan.training_patients})
    make_cohort(config, training_folder(difficulty), done=lambda name, made: print(name, flush=True))


def is_training_cohort_made(difficulty: Difficulty) -> bool:
    """Whether `cohort.csv`, which is written last, is there."""
    return (training_folder(difficulty) / SHEET).is_file()


def write_sheets(plan: Plan, folder: Path, exact: bool) -> Path:
    """The cohort's sheet with its fixed split; `exact` with `nct_truth` as the annotation and no CTPA."""
    split, truth = folder / SPLIT_SHEET, folder / TRUTH_SHEET
    parts = ["train"] * plan.training_split + ["validation"] * (plan.training_patients - plan.training_split)
    rows = read_table(folder / SHEET)
    placed = [row | {"split": part} for row, part in zip(rows, parts, strict=True)]
    write_table(split, list(placed[0]), placed)
    if not exact:
        return split
    write_truth_cohort(split, truth)
    rows = read_table(truth)
    write_table(truth, list(rows[0]), [row | {"ctpa": "", "ctpa_mask": ""} for row in rows])
    return truth


def make_patients(plan: Plan, difficulty: Difficulty, role: Role) -> None:
    """Make the patients of a scoring cohort that are missing."""
    config = phantom_of(plan, difficulty, role)
    for name in missing_patients(plan, difficulty, role):
        facts = make_patient(config, name, patients_folder(plan, difficulty, role) / name)
        print(name, facts["seconds"], flush=True)


def missing_patients(plan: Plan, difficulty: Difficulty, role: Role) -> list[str]:
    """Patients of a scoring cohort that are not made yet."""
    folder = patients_folder(plan, difficulty, role)
    return [name for name in cohort_patients(plan, difficulty, role) if not (folder / name / "facts.json").is_file()]


def make_patient(config: PhantomConfig, name: str, folder: Path) -> dict[str, Any]:
    """Write `nct.nii` (int16 HU, the lung box), `truth.nii.gz` (clot ids, native grid) and `facts.json` (written last).

    The voxels are those of `cpmn phantom --truth-only` (tested), without the detour over compressed files. Returns the
    facts: label, clots, box and processor seconds.
    """
    began = time.process_time()
    anatomy = build_anatomy(config, name)
    scan = scan_phase(config, anatomy, "nct")
    native = grid_image(scan.hu, scan.grid)
    box, _, _ = find_box(native, CropConfig.model_validate({}))
    write_image(crop_image(native, box), folder / "nct.nii")
    write_image(grid_image(scan.clots.astype(np.uint16), scan.grid), folder / "truth.nii.gz")
    described = describe(config, anatomy, {"nct": scan})
    facts = {key: described[key] for key in ("patient_id", "label", "seed", "difficulty", "noise_hu", "clots")}
    facts |= {"box": box.to_json(), "seconds": round(time.process_time() - began, 2)}
    write_json(folder / "facts.json", facts)
    return read_json(folder / "facts.json")
