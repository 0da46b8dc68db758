"""A person's outline, read, checked against its scan, and split into clots."""

import logging
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.checks.finding import Finding, settle_patient
from cpmn.checks.mask import check_mask
from cpmn.cohort.masks import read_mask
from cpmn.cohort.sheet import Patient
from cpmn.errors import PatientError
from cpmn.volume.clots import clot_ids
from cpmn.volume.images import image_like

logger = logging.getLogger(__name__)


def no_outline(patient: Patient, columns: str) -> PatientError:
    """The refusal of PE of which nobody drew an outline; `columns` of the sheet would name one."""
    problem = "label is 1 (PE) but no embolus mask is given"
    return PatientError(patient.patient_id, problem, f"Name {columns} in cohort.csv.")


def read_outline(
    patient: Patient,
    path: Path,
    scan: sitk.Image,
    scan_name: str,
    other: sitk.Image | None = None,
) -> tuple[sitk.Image, list[Finding]]:
    """Clot ids (uint16) on the grid of `scan`, and what the checks of the mask found.

    `scan` is in HU and called `scan_name` ("NCT" or "CTPA"); `other` is the scan of the other phase, where there is
    one. Raises PatientError as `read_mask`, and for what a check refuses that the patient's `overrule` does not name.
    """
    mask = read_mask(patient, path, scan, scan_name, other)
    found = check_mask(mask, scan, scan_name.lower(), other_scan=other)
    findings = settle_patient(patient.patient_id, found, patient.overrule, path)
    for finding in findings:
        if finding.outcome == "passed":  # the others stand in the log already
            logger.info("%s: %s", finding.check, finding.seen)
    return image_like(clot_ids(sitk.GetArrayFromImage(mask)).astype(np.uint16), mask), findings
