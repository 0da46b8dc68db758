"""`cpmn score`: a folder of predicted masks against the references of a cohort, with the figures of `evaluate`."""

import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from tqdm import tqdm

from cpmn.checks.finding import settle_patient
from cpmn.checks.mask import as_labelled
from cpmn.cohort.csv import read_sheet
from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.config.evaluate import EvaluateConfig
from cpmn.errors import CpmnError, PatientError
from cpmn.scoring.agreement import Agreement, Score, mark_lesions, measure, read_reference, summarise
from cpmn.volume.images import holds_ids, read_image

logger = logging.getLogger(__name__)


def score_predictions(
    predictions: Path, cohort: Path, *, scores: Path | None = None, config: EvaluateConfig | None = None
) -> dict[str, Any]:
    """Score `{patient_id}.nii.gz` masks on the native NCT grid.

    Parameters
    ----------
    predictions : folder of masks, non-zero is embolus; patients of the cohort without one are listed, not scored.
    cohort : `cohort.csv`; the reference is `nct_truth`, else `nct_mask`; PE patients without either have no voxel
        figures, patients without PE have an empty reference.
    scores : CSV `patient_id,score[,decision]`, by default `scores.csv` in the folder; without it the score is the
        predicted volume in mL, and any marked lesion makes the patient positive.

    Returns
    -------
    The blocks of `metrics.json`, `scored` and `not_scored` patients, `score_source`, and under `split_references` how
    many clots each reference of one value was split into.

    Raises
    ------
    CpmnError for a folder without a mask of any patient of the cohort, or a scores file that lacks a patient or names
    one twice; PatientError for a prediction that is no mask, or not on the grid of its reference, and for a reference
    that marks clots in a patient without PE whose `overrule` does not name `mask_label`.
    """
    config = config or EvaluateConfig.model_validate({})
    patients = load_cohort(cohort)
    present = [patient for patient in patients if _is_mask(_mask_path(predictions, patient))]
    if not present:
        raise CpmnError(f"{predictions} holds no mask of a patient of {cohort}. Name the files {{patient_id}}.nii.gz.")
    missing = [patient.patient_id for patient in patients if patient not in present]
    if missing:
        logger.warning("%d patients of the cohort have no prediction and are not scored", len(missing))
    agreements = [_measure(patient, predictions, config) for patient in tqdm(present, desc="score", disable=None)]
    table = scores or predictions / "scores.csv"
    given = _read_scores(table, agreements) if scores or table.is_file() else _volume_scores(agreements)
    return summarise(agreements, given, config) | {
        "score_source": table.name if scores or table.is_file() else "predicted volume in mL; positive above zero",
        "scored": [agreement.patient_id for agreement in agreements],
        "not_scored": missing,
        "split_references": {one.patient_id: one.split_clots for one in agreements if one.split_clots},
    }


def _is_mask(path: Path) -> bool:
    """Whether there is a mask: `evaluate` leaves an empty file for a patient who was excluded."""
    return path.is_file() and path.stat().st_size > 0


def _mask_path(folder: Path, patient: Patient) -> Path:
    return folder / f"{patient.patient_id}.nii.gz"


def _measure(patient: Patient, folder: Path, config: EvaluateConfig) -> Agreement:
    prediction = read_image(_mask_path(folder, patient))
    mask = sitk.GetArrayFromImage(prediction)
    if not holds_ids(mask):
        remedy = "Give a mask, with whole numbers from 0 (no embolus): a probability needs a threshold first."
        raise PatientError(patient.patient_id, "the prediction is no mask", remedy, _mask_path(folder, patient))
    reference = read_reference(patient, prediction, None, "prediction")
    if reference.image is not None and (given := patient.nct_truth or patient.nct_mask):
        said = as_labelled(bool(sitk.GetArrayViewFromImage(reference.image).any()), patient.label)
        settle_patient(patient.patient_id, [said], patient.overrule, given)
    labels = mark_lesions(mask != 0, prediction, 0.5, config.minimum_lesion_mm3)
    return measure(patient, labels, reference, prediction, tolerance_mm=config.surface_tolerance_mm)


def _volume_scores(agreements: list[Agreement]) -> dict[str, Score]:
    return {agreement.patient_id: Score(agreement.predicted_ml, agreement.predicted_ml > 0) for agreement in agreements}


def _read_scores(path: Path, agreements: list[Agreement]) -> dict[str, Score]:
    if not path.is_file():
        raise CpmnError(f"scores file {path} does not exist. Give a CSV with the columns patient_id,score[,decision].")
    sheet = read_sheet(path)
    if missing := [name for name in ("patient_id", "score") if name not in sheet.columns]:
        raise CpmnError(f"{path} has no column {' and '.join(missing)}. The columns are patient_id,score[,decision].")
    names = [(row["patient_id"] or "").strip() for row in sheet.rows]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise CpmnError(f"{path}: patient {twice[0]} stands in {names.count(twice[0])} rows. Give one row per patient.")
    rows = dict(zip(names, sheet.rows, strict=True))
    absent = [agreement.patient_id for agreement in agreements if agreement.patient_id not in rows]
    if absent:
        raise CpmnError(f"{path} has no score of {', '.join(absent)}. Give one row per predicted patient.")
    try:
        return {agreement.patient_id: _score(rows[agreement.patient_id]) for agreement in agreements}
    except (TypeError, ValueError) as error:
        raise CpmnError(f"{path}: {error}. The columns are patient_id,score[,decision]; decision is 0 or 1.") from error


def _score(row: dict[str, str]) -> Score:
    value, decision = float(row["score"]), (row.get("decision") or "").strip()
    if not math.isfinite(value):
        raise ValueError(f"the score {row['score']} is not a finite number")
    if decision not in ("", "0", "1"):
        raise ValueError(f"the decision {decision} is neither 0 nor 1")
    return Score(value, decision == "1" if decision else None)
