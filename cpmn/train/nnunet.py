"""A run as a data set for nnU-Net v2: its scans, labels and folds, so that both learn from the same (`cpmn nnunet`).

The layout is that of nnU-Net's documentation (`dataset_format.md`, `manual_data_splits.md`).
"""

import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.cohort.kinds import NEAR_MM, is_reported
from cpmn.cohort.roles import read_splits, set_apart
from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.errors import CpmnError
from cpmn.files import write_json
from cpmn.job.status import excluded_patients, unregistered
from cpmn.volume.images import image_like, read_image, write_image
from cpmn.volume.voxels import within

NAME = re.compile(r"Dataset\d{3}_\w+")
ENDING = ".nii.gz"
IGNORE = 2
PARTS = {"train": "train", "val": "validation"}
"""Part of a fold by nnU-Net's name."""


def write_dataset(results: Path, cohort: Path, folder: Path) -> dict[str, list[str]]:
    """Write `folder`, `DatasetNNN_NAME`: `imagesTr`, `labelsTr`, `imagesTs`, `dataset.json`; who is in it, and who not.

    Scans are whole NCTs on their own grid (int16 HU), labels uint8, 1 in clots: those that the run's networks learn
    from. In patients whom `annotate` outlined what it leaves out is 2, nnU-Net's label `ignore` (`ignore_label.md`).
    Test and calibration patients have an image alone. `splits_final.json` holds the run's folds and belongs into
    nnU-Net's folder of preprocessed data.

    Parameters
    ----------
    results : of a run that was trained, or at least preprocessed and split.
    cohort : the sheet of that run.

    Returns
    -------
    Patients by part: `train` (validation among them), `test`, and `left_out`, whose labels nnU-Net could not take as
    they are: excluded patients, failed registrations, those with PE and no outline, and those without an NCT.

    Raises
    ------
    CpmnError if `folder` exists or is named otherwise, or the run is not split, or of another cohort.
    """
    patients = load_cohort(cohort)
    splits = _splits(results, patients)
    _require_new(folder)
    apart = set_apart(splits)
    left_out = _left_out(patients, results, apart)
    found: dict[str, list[str]] = {"train": [], "test": [], "left_out": []}
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    for patient in patients:
        name = patient.patient_id
        labelled = name not in apart and name not in left_out and _write_label(patient, results, folder)
        part = "test" if name in apart and name not in left_out else "train" if labelled else "left_out"
        found[part].append(name)
        if part != "left_out":
            images = folder / ("imagesTs" if part == "test" else "imagesTr")
            shutil.copyfile(results / "convert" / name / "nct.nii.gz", images / f"{name}_0000{ENDING}")
    reported = {patient.patient_id for patient in patients if is_reported(patient)}
    write_json(folder / "dataset.json", dataset(len(found["train"]), not reported.isdisjoint(found["train"])))
    write_json(folder / "splits_final.json", _folds(splits, set(found["train"])))
    return found


def dataset(cases: int, ignores: bool = False) -> dict[str, Any]:
    """Contents of nnU-Net's `dataset.json` for so many training patients; whether some voxels' labels are unknown."""
    labels = {"background": 0, "embolus": 1} | ({"ignore": IGNORE} if ignores else {})
    return {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": cases, "file_ending": ENDING}


def _splits(results: Path, patients: list[Patient]) -> dict[str, Any]:
    path = results / "train" / "splits.json"
    if not path.is_file():
        raise CpmnError(f"{results} holds no train/splits.json. Let its run end first: snakemake ... models")
    return read_splits(path, patients)


def _require_new(folder: Path) -> None:
    if not NAME.fullmatch(folder.name):
        raise CpmnError(f"nnU-Net finds data sets by names as Dataset001_PE, not {folder.name}. Name the folder so.")
    if folder.exists():
        raise CpmnError(f"{folder} exists. Remove it, or choose another number.")


def _left_out(patients: Sequence[Patient], results: Path, apart: Collection[str]) -> set[str]:
    """Whom the run left out; a failed registration matters only where a label is to be learnt."""
    with_nct = [patient.patient_id for patient in patients if patient.nct]
    alone = {patient.patient_id for patient in patients if not patient.nct}
    taught = [patient.patient_id for patient in patients if patient.nct and patient.ctpa]
    failed = unregistered((name for name in taught if name not in apart), results)
    return {*alone, *failed, *excluded_patients(with_nct, results)}


def _write_label(patient: Patient, results: Path, folder: Path) -> bool:
    """Write a patient's label; whether there is one: with PE and no clot marked it is not known where they are."""
    clots = read_image(results / "propagate" / patient.patient_id / "embolus.nii.gz")
    label = (sitk.GetArrayViewFromImage(clots) > 0).astype(np.uint8)
    known = bool(label.any()) or not patient.label
    if known:
        if is_reported(patient):
            label[~within(label, NEAR_MM, clots.GetSpacing())] = IGNORE
        write_image(image_like(label, clots), folder / "labelsTr" / f"{patient.patient_id}{ENDING}")
    return known


def _folds(splits: dict[str, Any], there: set[str]) -> list[dict[str, list[str]]]:
    return [
        {ours: [name for name in fold[theirs] if name in there] for ours, theirs in PARTS.items()}
        for fold in splits["folds"]
    ]
