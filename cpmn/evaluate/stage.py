"""Evaluate one variant: predict, decide, compare with the reference, and write the figures.

Where the decision's threshold comes from: `cpmn.scoring.decision`.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from tqdm import tqdm

from cpmn.cohort.roles import Role, assign_roles, propagated_label
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.config.evaluate import EvaluateConfig
from cpmn.evaluate.origin import training_facts
from cpmn.evaluate.references import check_references
from cpmn.evaluate.tables import PATIENT_COLUMNS, RATIO_COLUMN, ROC_COLUMNS, patient_row
from cpmn.files import read_json, read_table, remove_unfinished, write_json, write_table
from cpmn.job.status import OnBadPatient
from cpmn.model.ensemble import load_folds, on_native, read_crop, stored_map
from cpmn.model.indeterminate import reasons
from cpmn.model.inference import TrainedModel
from cpmn.model.modelfiles import DECISION_FILE, RunFiles
from cpmn.model.seal import sealed
from cpmn.scoring.agreement import Agreement, Reference, Score, mark_lesions, measure, read_reference, summarise
from cpmn.scoring.decision import Decision, Features, Marks, Unseen, fit_decision, is_positive, patient_score
from cpmn.scoring.metrics import roc_curve
from cpmn.volume.box import paste
from cpmn.volume.images import image_like, read_image, write_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Read:
    """One patient read by the models: how it agrees with the reference, features of the decision, number of marks."""

    role: Role
    agreement: Agreement
    features: dict[int, Features]
    marks: int


def evaluate_variant(
    *,
    variant: str,
    splits: Mapping[str, Any],
    patients: Sequence[Patient],
    results: Path,
    excluded: Mapping[str, str],
    folder: Path,
    config: EvaluateConfig,
    threads: int,
    crop: CropConfig | None = None,
    convert: ConvertConfig | None = None,
    on_bad_patient: OnBadPatient = "stop",
    cohort: Mapping[str, str] | None = None,
) -> None:
    """Write `folder`/{metrics.json, patients.csv, decision.json, roc.csv, checks.json, predictions/, cam/, reference/}.

    Test and calibration patients are read by the mean of all folds' models, validation patients by the fold that did
    not train on them. The decision is fitted on the calibration patients, without any on the validation patients;
    `metrics.json` holds the figures of the test patients.

    Parameters
    ----------
    splits : contents of `splits.json`.
    results : folder with `convert`, `register`, `propagate`, `crop` and `train`.
    excluded : reason by patient, for those that could not be processed. Failed registration quality control is not
        such a reason: the patient is scored, only without the propagated label as its reference.
    crop, convert : settings of these stages, kept in `decision.json` so that `predict` works alike; defaults if not
        given.
    cohort : `cohort` and `data_hash` of the run, which say in the model what it was trained on.

    Maps are on the native NCT grid: `predictions` uint8 0/1, `cam` float32 0-1, `reference` uint16 clot ids as scored.
    `checks.json` is what the checks of each `nct_truth` found. A refused one stops; with `on_bad_patient: exclude` its
    patient is scored at patient level alone.

    An excluded patient's maps are empty files, as `cpmn.job.status` leaves them, and so is a reference that is
    absent.

    Raises
    ------
    CpmnError for a missing or damaged model, and as `check_references`.
    """
    remove_unfinished(folder, *(folder / kind for kind in ("predictions", "cam", "reference")))
    torch.set_num_threads(threads)
    folds = len(splits["folds"])
    models = load_folds(results / "train" / variant, folds, config.device)
    roles = assign_roles(splits, patients, excluded)
    refused = check_references(roles, results, folder / "checks.json", on_bad_patient)
    reads = {
        role.patient.patient_id: _read(role, models, results, folder, config, role.patient.patient_id in refused)
        for role in tqdm([role for role in roles if not role.excluded_reason], desc=f"evaluate {variant}", disable=None)
    }
    part = "calibration" if splits.get("calibration") else "validation"
    decision = fit_decision(
        _unseen(reads.values(), part), variant, folds, config, part=part, crop=crop, convert=convert
    )
    _write_placeholders(folder, roles)
    scores = {name: _score(read, decision) for name, read in reads.items()}
    test = [read.agreement for read in reads.values() if read.role.split == "test"]
    facts = _facts(variant, folds, roles) | _ctpa(results, variant, folds)
    write_json(folder / "metrics.json", _figures(test, scores, decision, config) | facts)
    trained_on = training_facts(results, variant, splits, patients, excluded, cohort or {})
    decision = decision.model_copy(update={"trained_on": trained_on, "marks": _marks(reads.values(), scores, part)})
    plans = [model.plan for model in models.values()]
    why = {
        name: reasons(decision, plans, *_scan(name, results), read.marks, scores[name].positive)
        for name, read in reads.items()
        if read.role.split == "test"
    }
    _write_tables(folder, roles, reads, scores, decision, why)
    write_json(folder / DECISION_FILE, sealed(decision.model_dump(mode="json"), RunFiles(results, variant)))


def _read(
    role: Role,
    models: Mapping[int, TrainedModel],
    results: Path,
    folder: Path,
    config: EvaluateConfig,
    refused: bool,
) -> Read:
    patient, name = role.patient, f"{role.patient.patient_id}.nii.gz"
    own = models if role.fold is None else {role.fold: models[role.fold]}
    crop = read_image(results / "crop" / patient.patient_id / "nct.nii.gz")
    native = read_image(results / "convert" / patient.patient_id / "nct.nii.gz")
    reading = read_crop(own, crop, config, read_image(results / "crop" / patient.patient_id / "lung.nii.gz"))
    probability = on_native(reading.probability, crop, native)
    labels = mark_lesions(probability, native, config.segmentation_threshold, config.minimum_lesion_mm3)
    write_image(image_like((labels != 0).astype(np.uint8), native), folder / "predictions" / name)
    write_image(stored_map(on_native(reading.cam, crop, native), native), folder / "cam" / name)
    reference = Reference() if refused else read_reference(patient, native, propagated_label(results, patient))
    if reference.image is not None:
        write_image(reference.image, folder / "reference" / name)
    else:
        _write_empty(folder / "reference" / name)
    agreement = measure(
        patient,
        labels,
        reference,
        native,
        probability=probability,
        tolerance_mm=config.surface_tolerance_mm,
        vessels=_vessels(patient, native, results / "crop" / patient.patient_id / "vessels.nii.gz"),
    )
    return Read(role, agreement, reading.features, int(labels.max(initial=0)))


def _scan(name: str, results: Path) -> tuple[dict[str, Any], sitk.Image, list[str]]:
    """A patient's NCT for `reasons`: its facts, the crop in HU, and the sides on which the scan cuts the lungs."""
    folder = results / "crop" / name
    cut = read_json(folder / "crop.json")["lungs_cut_by_scan"]
    return read_json(results / "convert" / name / "nct.json"), read_image(folder / "nct.nii.gz"), cut


def _vessels(patient: Patient, native: sitk.Image, path: Path) -> np.ndarray | None:
    """Arteries and veins (z, y, x) on the native grid; None without a mask, or where `crop` left it out."""
    if patient.vessels is None or not path.stat().st_size:
        return None
    return sitk.GetArrayFromImage(paste(read_image(path), native))


def _write_placeholders(folder: Path, roles: Sequence[Role]) -> None:
    for role in roles:
        if role.excluded_reason and role.split != "train":
            for kind in ("predictions", "cam", "reference"):
                _write_empty(folder / kind / f"{role.patient.patient_id}.nii.gz")


def _write_empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def _unseen(reads: Iterable[Read], part: str) -> list[Unseen]:
    """Patients of the part with the features of the folds that read them: all that the decision may be fitted on."""
    return [
        Unseen(read.role.patient.patient_id, read.role.patient.label, read.features)
        for read in reads
        if read.role.split == part
    ]


def _score(read: Read, decision: Decision) -> Score:
    value = patient_score(read.features, decision)
    return Score(value, is_positive(value, decision), decision.combination.logistic)


def _figures(
    test: Sequence[Agreement], scores: Mapping[str, Score], decision: Decision, config: EvaluateConfig
) -> dict[str, Any]:
    score = {"rule": decision.combination.rule, "probability": decision.combination.logistic}
    return summarise(test, scores, config) | {"threshold": decision.threshold.model_dump(), "score": score}


def _ctpa(results: Path, variant: str, folds: int) -> dict[str, Any]:
    """How well a CTPA pathway reads the validation patients' CTPA, the mean of the folds; nothing without one."""
    paths = [results / "train" / variant / f"fold-{fold}" / "history.csv" for fold in range(folds)]
    rows = [read_table(path)[-1] for path in paths if path.is_file()]
    names = ("dice", "auc", "found")
    known = {name: [float(text) for row in rows if (text := row.get(f"validation_{name}_ctpa"))] for name in names}
    if not any(known.values()):
        return {}
    return {"ctpa": {"split": "validation"} | {name: float(np.mean(v)) if v else None for name, v in known.items()}}


def _facts(variant: str, folds: int, roles: Sequence[Role]) -> dict[str, Any]:
    test = [role for role in roles if role.split == "test"]
    return {
        "variant": variant,
        "split": "test",
        "folds": folds,
        "patients": sum(not role.excluded_reason for role in test),
        "excluded": sum(bool(role.excluded_reason) for role in test),
    }


def _marks(reads: Iterable[Read], scores: Mapping[str, Score], part: str) -> Marks | None:
    """The marks of the patients whom the decision was fitted on."""
    fitted = [read for read in reads if read.role.split == part]
    if not fitted:
        return None
    negative = [read.marks for read in fitted if scores[read.role.patient.patient_id].positive is False]
    most = max(read.marks for read in fitted)
    return Marks(patients=len(fitted), most=most, most_without_pe=max(negative, default=None))


def _write_tables(
    folder: Path,
    roles: Sequence[Role],
    reads: Mapping[str, Read],
    scores: Mapping[str, Score],
    decision: Decision,
    why: Mapping[str, Mapping[str, str]],
) -> None:
    rows = []
    for role in roles:
        name = role.patient.patient_id
        read, score = reads.get(name), scores.get(name)
        agreement, threshold = read.agreement if read else None, decision.threshold.value
        rows.append(patient_row(role, agreement, score, threshold, why.get(name, ())))
    rated = (RATIO_COLUMN,) if any(role.patient.vessels for role in roles) else ()
    write_table(folder / "patients.csv", (*PATIENT_COLUMNS, *rated), rows)
    test = [row for row in rows if row["split"] == "test" and "score" in row]
    curve = roc_curve([row["label"] for row in test], [row["score"] for row in test])
    write_table(folder / "roc.csv", ROC_COLUMNS, curve)
