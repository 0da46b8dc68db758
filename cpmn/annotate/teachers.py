"""Who teaches the networks of `annotate`, and which network reads whom: a pure function of sheet and configuration."""

from collections.abc import Collection, Sequence
from typing import Any

from cpmn.cohort.kinds import is_reported, outlines_ctpa
from cpmn.cohort.sheet import Patient
from cpmn.cohort.splits import stretches


def readers(patients: Sequence[Patient], apart: Collection[str], folds: int, seed: int) -> dict[str, Any]:
    """`{teachers, read, worklist, folds: [{train, held}]}`, lists of ids, all empty where nothing is to be read.

    apart : patients who test or calibrate: they teach no network.

    Teachers are those whose CTPA tells where clots are and are not: outlined, or without PE. `read` are the pairs with
    PE that nobody outlined, and `worklist` those of them whom a correction lets teach. A fold's `held` are left out of
    its training and read by it; groups are never divided. With one outlined group, or `folds` 1, all teach one network
    and nobody is held.
    """
    read = [patient for patient in patients if is_reported(patient) and patient.ctpa and patient.nct]
    teachers = [patient for patient in patients if outlines_ctpa(patient) and patient.patient_id not in apart]
    outlined = {patient.group for patient in teachers if patient.label}
    if not read or not outlined:
        return {"teachers": [], "read": [], "worklist": [], "folds": []}
    count = min(folds, len(outlined))
    held = stretches(teachers, count, seed, "annotate") if count > 1 else [[]]
    names = [patient.patient_id for patient in teachers]
    return {
        "teachers": names,
        "read": [patient.patient_id for patient in read],
        "worklist": [patient.patient_id for patient in read if patient.patient_id not in apart],
        "folds": [{"train": [name for name in names if name not in part], "held": sorted(part)} for part in held],
    }


def networks_of(patient: str, folds: Sequence[dict[str, list[str]]]) -> list[int]:
    """Networks that may read a patient: those that were not trained on the patient; all where none was."""
    return [number for number, fold in enumerate(folds) if patient not in fold["train"]]
