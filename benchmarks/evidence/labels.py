"""How far the carried labels, from which networks learn, agree with the truth: the noise of the labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from benchmarks.evidence.cohorts import SHEET, run_folder, training_folder
from benchmarks.evidence.plan import RESULTS, Difficulty, Plan
from benchmarks.evidence.table import LABELS_FILE
from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.files import read_json, write_text
from cpmn.phantom.difficulty import HYPERDENSE, ISODENSE
from cpmn.scoring import metrics
from cpmn.scoring.overlap import dice
from cpmn.train.visibility import clot_visibility
from cpmn.volume.images import read_image

CEILING_HU = 1000.0  # visibility is then the contrast itself, up to here


def measure_labels(plan: Plan) -> pd.DataFrame:
    """A row per difficulty whose training cohort is there: its PE patients' Dice, volume ratio and ranks of visibility.

    Stored as `labels.csv`; rows of difficulties that are not there now are kept.
    """
    path = RESULTS / LABELS_FILE
    rows = {row["difficulty"]: row for row in (pd.read_csv(path).to_dict("records") if path.is_file() else [])}
    for difficulty in plan.seeds["train"]:
        patients = _patients(difficulty)
        if patients:
            clots = np.concatenate([_contrasts(difficulty, patient) for patient in patients])
            found = np.array([_compare(difficulty, patient) for patient in patients])
            rows[difficulty] = _row(difficulty, found) | visibility_ranks(clots)
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


def _contrasts(difficulty: Difficulty, patient: Patient) -> np.ndarray:
    """A row per clot (n, 3), in HU: its true contrast, that by `clot_visibility`, and that by the mean of the label."""
    folder = run_folder(difficulty, exact=False) / "results" / "crop" / patient.patient_id
    facts = read_json(training_folder(difficulty) / patient.patient_id / "phantom.json")
    truth = {clot["id"]: clot["nct_hu_over_blood"] for clot in facts["clots"]}
    nct, embolus = (read_image(folder / f"{name}.nii.gz") for name in ("nct", "embolus"))
    by_median = clot_visibility(nct, embolus, CEILING_HU)
    hu, ids = sitk.GetArrayFromImage(nct), sitk.GetArrayFromImage(embolus)
    blood = facts["hu"]["nct"]["artery"]
    return np.array(
        [
            (truth[clot], CEILING_HU * seen, abs(float(hu[ids == clot].mean()) - blood))
            for clot, seen in by_median.items()
        ]
    ).reshape(-1, 3)


def visibility_ranks(clots: np.ndarray) -> dict[str, float | None]:
    """Share of pairs of a visible and an isodense clot in which the visible one is found to have more contrast.

    By the median over soft tissue, as training does, and by the mean over the label; ties, which medians of whole HU
    have, count half. None if there are no such pairs.
    """
    contrast = np.abs(clots[:, 0])
    visible = contrast >= HYPERDENSE[0]
    chosen = visible | (contrast < ISODENSE[1])
    by_median, by_mean = (metrics.auc(visible[chosen].tolist(), found[chosen].tolist()) for found in clots.T[1:])
    return {"ranked_by_median": _rounded(by_median["value"]), "ranked_by_mean": _rounded(by_mean["value"])}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


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
