"""References of the sheet against their NCT: no stage before `evaluate` may read an `nct_truth`."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cpmn.checks.finding import Finding, settle_patient
from cpmn.checks.mask import check_truth
from cpmn.cohort.masks import read_ids
from cpmn.cohort.roles import Role
from cpmn.cohort.sheet import Patient
from cpmn.errors import CpmnError, PatientError
from cpmn.files import write_json
from cpmn.job.redact import without_paths
from cpmn.job.status import OnBadPatient
from cpmn.volume.images import read_image

logger = logging.getLogger(__name__)


def check_references(
    roles: Iterable[Role], results: Path, output: Path, on_bad_patient: OnBadPatient = "stop"
) -> set[str]:
    """Hold each scored patient's `nct_truth` against the converted NCT and write what was found, by patient.

    Returns the patients whose reference is refused: with `exclude` they are scored at patient level alone.

    Raises PatientError, with `stop`, for a reference that cannot be read, lies on another grid, or is refused by a
    check that the patient's `overrule` does not name; CpmnError with all of them where there are several.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    errors: list[PatientError] = []
    for role in roles:
        if role.excluded_reason or role.patient.nct_truth is None:
            continue
        try:
            findings = _check(role.patient, role.patient.nct_truth, results / "convert" / role.patient.patient_id)
        except PatientError as error:
            errors.append(error)
            findings = [_refusal(error, role.patient)]
        found[role.patient.patient_id] = [finding.to_json() for finding in findings]
    if errors and on_bad_patient == "stop":
        raise errors[0] if len(errors) == 1 else CpmnError("\n".join(map(str, errors)))
    for error in errors:
        logger.error("scored without its reference: %s", error)
    write_json(output, found)
    return {error.patient for error in errors}


def _check(patient: Patient, truth: Path, converted: Path) -> list[Finding]:
    nct, other = read_image(converted / "nct.nii.gz"), converted / "ctpa.nii.gz"
    ctpa = read_image(other) if patient.ctpa and other.is_file() else None
    mask = read_ids(patient, truth, nct, "NCT", name="nct_truth", other=ctpa)
    return settle_patient(patient.patient_id, check_truth(mask, nct, patient.label, ctpa), patient.overrule, truth)


def _refusal(error: PatientError, patient: Patient) -> Finding:
    """What a record says of a refused reference: the check's finding, or why it was not asked."""
    check = getattr(getattr(error.__cause__, "finding", None), "check", "readable")
    return Finding(check, "refused", without_paths(error.problem, patient), error.remedy)
