"""Who is evaluated, and by which fold's model; who taught nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import Patient
from cpmn.config.keys import dotted
from cpmn.errors import CpmnError
from cpmn.files import read_json


@dataclass(frozen=True)
class Role:
    """A patient's part: `fold` is the fold whose validation part holds the patient, None for all others."""

    patient: Patient
    split: str
    fold: int | None
    excluded_reason: str = ""


def set_apart(splits: Mapping[str, Any]) -> dict[str, str]:
    """Part of each patient that stands in no fold: test or calibration."""
    return {name: part for part in ("test", "calibration") for name in splits.get(part, [])}


def teaching_nobody(splits: Mapping[str, Any]) -> set[str]:
    """Patients that no network of a run may learn from: those set apart, and those without an NCT of their groups."""
    return {*set_apart(splits), *splits.get("unused", [])}


def assign_roles(splits: Mapping[str, Any], patients: Sequence[Patient], excluded: Mapping[str, str]) -> list[Role]:
    """Roles of all test, calibration and validation patients, and of every excluded one, in the order of the cohort.

    `excluded` is the reason by patient. Patients that only train are left out: a model's figures on its own training
    patients mean nothing.
    """
    validation = {name: fold for fold, part in enumerate(splits["folds"]) for name in part["validation"]}
    parts = dict.fromkeys(validation, "validation") | set_apart(splits)
    roles = []
    for patient in patients:
        name = patient.patient_id
        split = parts.get(name, "train")
        reason = excluded.get(name, "")
        if split != "train" or reason:
            roles.append(Role(patient, split, validation.get(name), reason))
    return roles


def read_splits(path: Path, patients: Sequence[Patient]) -> dict[str, Any]:
    """Contents of `splits.json` at `path`, which must share out all `patients` and nobody else.

    They do not when a version control brought back the file of another cohort: Snakemake knows its own last run alone.
    Raises CpmnError with what to do.
    """
    splits = read_json(path)
    shared_out = teaching_nobody(splits).union(*(name for fold in splits["folds"] for name in fold.values()))
    if shared_out != {patient.patient_id for patient in patients}:
        raise CpmnError(
            f"{path} is of another cohort than this run. Bring back the files that belong together (`dvc checkout`), "
            "or remove it and repeat the command."
        )
    return splits


def check_plans(paths: Iterable[Path], settings: Mapping[str, Any]) -> None:
    """Raise CpmnError if a model was trained with other settings than this run's variant, whose `plan.json` says so.

    They differ for the same reason as splits do: weights that a version control brought back look new to Snakemake.
    """
    planned = ("network.patch_size", "network.channels") if settings["network"]["planned"] else ()
    wanted = {key: value for key, value in dotted(settings).items() if key not in planned}
    for path in paths:
        found = dotted(read_json(path)["config"])
        other = [key for key, value in wanted.items() if found.get(key) != value]
        if other:
            raise CpmnError(
                f"{path.parent} was trained with other settings than this run's: {', '.join(sorted(other))}. Bring "
                "back the files that belong together (`dvc checkout`), or train again: "
                "`snakemake --cores N --forcerun train`."
            )


def propagated_label(results: Path, patient: Patient) -> Path | None:
    """The label carried from the CTPA's mask, unless there is none or, with PE, registration failed quality control."""
    if patient.ctpa_mask is None:
        return None
    quality = results / "register" / patient.patient_id / "quality.json"
    if patient.label and quality.is_file() and quality.stat().st_size and read_json(quality).get("passed") is False:
        return None
    return results / "propagate" / patient.patient_id / "embolus.nii.gz"


def without_clot(patients: Iterable[Patient], crops: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Outlined patients whose clots lie outside of the crop, all of them: `train` leaves them out.

    `crops` is what `crop.json` says, by patient; nothing of those who were excluded.
    """
    outlined = {p.patient_id: crops.get(p.patient_id) for p in patients if p.nct and p.label and not is_reported(p)}
    return {name for name, crop in outlined.items() if crop and crop["embolus_ml"] <= crop["embolus_ml_outside"]}
