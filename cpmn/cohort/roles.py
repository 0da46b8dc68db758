"""Who is evaluated, and by which fold's model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def assign_roles(
    splits: Mapping[str, Any], patients: Sequence[Patient], excluded: Mapping[str, str], crops: Path
) -> list[Role]:
    """Roles of all test, calibration and validation patients, and of every excluded one, in the order of the cohort.

    A patient whose `crop/{patient}/status.json` did not pass is excluded, whether or not `excluded` says so.
    Patients that only train are left out: a model's figures on its own training patients mean nothing.
    """
    validation = {name: fold for fold, part in enumerate(splits["folds"]) for name in part["validation"]}
    parts = dict.fromkeys(validation, "validation") | set_apart(splits)
    roles = []
    for patient in patients:
        name = patient.patient_id
        split = parts.get(name, "train")
        reason = excluded.get(name) or _failed(crops / name / "status.json")
        if split != "train" or reason:
            roles.append(Role(patient, split, validation.get(name), reason))
    return roles


def check_splits(path: Path, expected: Mapping[str, Any]) -> Mapping[str, Any]:
    """Contents of `splits.json` at `path`, which must be those that follow from cohort and configuration.

    They differ when a version control brought back the file of another state: Snakemake knows its own last run alone.
    Raises CpmnError with what to do.
    """
    found = read_json(path)
    if found != expected:
        raise CpmnError(
            f"{path} is of another cohort or configuration than this run. Bring back the files that belong together "
            f"(`dvc checkout`), or remove it and repeat the command."
        )
    return found


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


def _failed(status: Path) -> str:
    if not status.is_file():
        return ""
    content = read_json(status)
    return "" if content["passed"] else content["reason"] or "excluded"
