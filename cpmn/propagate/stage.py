"""Stage `propagate` for one patient: where the emboli lie on the native NCT grid."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from cpmn.checks.finding import Finding
from cpmn.checks.outline import no_outline, read_outline
from cpmn.cohort.sheet import Patient
from cpmn.config.propagate import PropagateConfig
from cpmn.errors import CpmnError, PatientError
from cpmn.propagate.labels import CarriedClot, propagate_labels
from cpmn.volume.images import image_like, read_image, write_image
from cpmn.volume.transforms import load_transform

logger = logging.getLogger(__name__)


def propagate_patient(
    patient: Patient,
    *,
    nct: Path,
    ctpa: Path | None,
    affine: Path | None,
    warp: Path | None,
    output: Path,
    config: PropagateConfig,
    annotated: Path | None = None,
    unannotated: Literal["use", "refuse"] = "use",
) -> list[Finding]:
    """Write the patient's clot ids (uint16) on the native NCT grid to `output`.

    An `nct_mask` in the cohort sheet replaces propagation; otherwise `ctpa_mask` is carried over by the transform of
    `register`, and so is what `annotate` outlined of a patient whom nobody did. A patient with label 0 gets an image of
    zeros, and so does one with label 1 and no outline at all, whose label alone teaches.

    Parameters
    ----------
    nct, ctpa : converted scans; `ctpa` only if the patient has one.
    affine, warp : ANTs files, CTPA moving onto NCT; only if the patient has a CTPA.
    annotated : clot ids on the CTPA's grid, made by `annotate`.
    unannotated : `refuse` takes nobody with label 1 whom no person outlined.

    Returns what the checks of the mask found.

    Raises PatientError for label 1 without any mask where these are refused, and for a mask that is unreadable, empty
    with label 1, not empty with label 0, on another grid than its scan, refused by a check that the patient's
    `overrule` does not name, or of which nothing lies in the NCT.
    """
    scan, findings = _read_scan(patient, nct), []
    if patient.nct_mask:
        other = None if ctpa is None else _read_scan(patient, ctpa)
        labels, findings = read_outline(patient, patient.nct_mask, scan, "NCT", other)
    elif patient.ctpa_mask:
        labels, findings = _propagated(patient, scan, ctpa, affine, warp, config)
    elif patient.label == 1 and unannotated == "refuse":
        raise no_outline(patient, "a ctpa_mask or an nct_mask")
    elif patient.label == 1 and annotated is not None:
        labels = _carried(patient, scan, read_image(annotated), affine, warp, config, drawn_by_network=True)
    else:
        labels = _no_clots(scan)
    write_image(labels, output)
    return findings


def source_of(patient: Patient, carried: Path) -> Literal["nct_mask", "ctpa_mask", "annotate", "label"]:
    """Who says where a patient's clots are: a person's mask, `annotate`, or nobody but the label.

    carried : what `propagate_patient` wrote. Without a person's mask only `annotate` can have marked a clot in it.
    """
    if patient.nct_mask:
        return "nct_mask"
    if patient.ctpa_mask:
        return "ctpa_mask"
    if patient.label == 0:
        return "label"
    return "annotate" if sitk.GetArrayFromImage(read_image(carried)).any() else "label"


def _propagated(
    patient: Patient,
    scan: sitk.Image,
    ctpa: Path | None,
    affine: Path | None,
    warp: Path | None,
    config: PropagateConfig,
) -> tuple[sitk.Image, list[Finding]]:
    if patient.ctpa_mask is None or ctpa is None or affine is None or warp is None:
        remedy = "Name the CTPA in cohort.csv, or give an nct_mask instead"
        raise PatientError(patient.patient_id, "a ctpa_mask is given without a ctpa", f"{remedy}.", patient.ctpa_mask)
    mask, findings = read_outline(patient, patient.ctpa_mask, _read_scan(patient, ctpa), "CTPA", scan)
    if patient.label == 0:
        return _no_clots(scan), findings
    return _carried(patient, scan, mask, affine, warp, config), findings


def _carried(
    patient: Patient,
    scan: sitk.Image,
    mask: sitk.Image,
    affine: Path | None,
    warp: Path | None,
    config: PropagateConfig,
    drawn_by_network: bool = False,
) -> sitk.Image:
    """Clot ids (uint16) on the NCT's grid of a `mask` on the CTPA's; raises PatientError where a person's has none."""
    assert affine is not None
    if not sitk.GetArrayViewFromImage(mask).any():
        return _no_clots(scan)  # `annotate` found nothing that is sure
    try:
        transform = load_transform(affine, warp)
    except CpmnError as error:
        raise PatientError(patient.patient_id, str(error), "Run `register` again.", affine) from error
    labels, clots = propagate_labels(mask, scan, transform, config)
    _report(patient, clots, drawn_by_network)
    return labels


def _report(patient: Patient, clots: list[CarriedClot], drawn_by_network: bool) -> None:
    lost = [clot.label for clot in clots if clot.written_ml == 0]
    if len(lost) == len(clots) and not drawn_by_network:  # a network's mistake is no patient's fault
        remedy = "Check the registration picture (quality.png) and that the NCT covers the chest"
        raise PatientError(patient.patient_id, "no clot lies inside the NCT", f"{remedy}.", patient.ctpa_mask)
    if lost:
        logger.warning("%s: clots %s lie outside the NCT and are left out", patient.patient_id, lost)
    source, mapped, written = (
        sum(getattr(clot, name) for clot in clots) for name in ("source_ml", "mapped_ml", "written_ml")
    )
    logger.info(
        "%s: %d clots; %.2f mL on the CTPA, %.2f mL after the motion, %.2f mL in NCT voxels",
        *(patient.patient_id, len(clots), source, mapped, written),
    )


def _no_clots(scan: sitk.Image) -> sitk.Image:
    return image_like(np.zeros(scan.GetSize()[::-1], np.uint16), scan)


def _read_scan(patient: Patient, path: Path) -> sitk.Image:
    try:
        return read_image(path)
    except CpmnError as error:
        raise PatientError(patient.patient_id, str(error), "Run `convert` again.", path) from error
