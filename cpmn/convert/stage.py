"""The stage `convert`: one patient's scans as int16 NIfTI in HU, each with a JSON of where it comes from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from cpmn.checks.finding import Finding, settle_patient, warnings_of
from cpmn.checks.pair import SAME_SCAN, check_pair
from cpmn.checks.scan import check_scan
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError
from cpmn.files import sha256_of_array, write_json
from cpmn.volume.images import write_image


def convert_patient(patient: Patient, folder: Path, config: ConvertConfig) -> None:
    """Write `folder`/{nct,ctpa}.nii.gz and .json, of the scans that the patient has.

    Each JSON lists what the checks of that scan found, the CTPA's those of the pair too (docs/reference/checks.md).

    Raises PatientError as `read_scan`, if both phases are one and the same scan, and for what a check refuses and the
    patient's `overrule` does not name.
    """
    of_nct = None
    if patient.nct is not None:
        nct, of_nct = _read(patient, "nct", patient.nct, config)
        _write(patient, "nct", nct, of_nct, check_scan(nct, of_nct, "nct"), folder)
    if patient.ctpa is None:
        return
    ctpa, of_ctpa = _read(patient, "ctpa", patient.ctpa, config)
    if of_nct is None:
        _write(patient, "ctpa", ctpa, of_ctpa, check_scan(ctpa, of_ctpa, "ctpa"), folder)
        return
    if of_ctpa["pixels_sha256"] == of_nct["pixels_sha256"]:
        raise PatientError(
            patient.patient_id,
            *SAME_SCAN,
            patient.ctpa,
        )
    of_pair, pair = check_pair(of_nct["identity"], of_ctpa["identity"], config.maximum_interval_hours)
    findings = [*check_scan(ctpa, of_ctpa, "ctpa"), *of_pair]
    _write(patient, "ctpa", ctpa, of_ctpa | {"pair": pair}, findings, folder)


def _read(patient: Patient, phase: str, source: Path, config: ConvertConfig) -> tuple[sitk.Image, dict[str, Any]]:
    image, facts = read_scan(
        source, patient=patient.patient_id, phase=phase, series_uid=patient.series_uid(phase), config=config
    )
    return image, facts | {"pixels_sha256": sha256_of_array(sitk.GetArrayViewFromImage(image))}


def _write(
    patient: Patient, phase: str, image: sitk.Image, facts: dict[str, Any], findings: Iterable[Finding], folder: Path
) -> None:
    """Write a scan and its JSON, of whose identity only hashes are kept."""
    source = patient.scan(phase)
    settled = settle_patient(patient.patient_id, findings, patient.overrule, source)
    record = facts | {
        "identity": facts["identity"].to_json(),
        "checks": [finding.to_json() for finding in settled],
        "warnings": [*facts["warnings"], *warnings_of(settled)],
    }
    write_image(image, folder / f"{phase}.nii.gz")
    write_json(folder / f"{phase}.json", record)
