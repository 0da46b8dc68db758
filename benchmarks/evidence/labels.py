"""How far the carried labels, from which networks learn, agree with the truth: the noise of the labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from benchmarks.evidence.cohorts import SHEET, run_folder, training_folder
from benchmarks.evidence.plan import RESULTS, Difficulty, Plan
from benchmarks.evidence.table import LABELS_FILE
from cpmn.cohort import Patient, load_cohort
from cpmn.files import write_text
from cpmn.images import read_image
from cpmn.voxels import dice


def measure_labels(plan: Plan) -> pd.DataFrame:
    """A row per difficulty whose training cohort is there: Dice and volume ratio over its PE patients.

    Stored as `labels.csv`; rows of difficulties that are not there now are kept.
    """
    path = RESULTS / LABELS_FILE
    rows = {row["difficulty"]: row for row in (pd.read_csv(path).to_dict("records") if path.is_file() else [])}
    for difficulty in plan.seeds["train"]:
        found = [_compare(difficulty, patient) for patient in _patients(difficulty)]
        if found:
            rows[difficulty] = _row(difficulty, np.array(found))
    table = pd.DataFrame(list(rows.values()))
    write_text(path, table.to_csv(index=False))
    return table


def _patients(difficulty: Difficulty) -> list[Patient]:
    """Patients with PE whose labels were carried."""
    sheet = training_folder(difficulty) / SHEET
    patients = load_cohort(sheet) if sheet.is_file() else []
    return [patient for patient in patients if patient.label and _carried(difficulty, patient).is_file()]


def _carried(difficulty: Difficulty, patient: Patient) -> Path:
    return run_folder(difficulty, exact=False) / "results" / "propagate" / patient.patient_id / "embolus.nii.gz"


def _compare(difficulty: Difficulty, patient: Patient) -> tuple[float, float]:
    """Dice and volume ratio of the carried label against the truth, on native voxels."""
    assert patient.nct_truth is not None
    masks = [read_image(path) for path in (_carried(difficulty, patient), patient.nct_truth)]
    carried, truth = (sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")) != 0 for mask in masks)
    return dice(carried, truth), float(carried.sum() / truth.sum())


def _row(difficulty: str, found: np.ndarray) -> dict[str, Any]:
    shared, ratio = found.T
    return {
        "difficulty": difficulty,
        "patients": len(shared),
        "dice": round(float(shared.mean()), 3),
        "dice_sd": round(float(shared.std(ddof=1)), 3),
        "dice_range": f"{shared.min():.3f} to {shared.max():.3f}",
        "volume_ratio": round(float(ratio.mean()), 3),
    }
