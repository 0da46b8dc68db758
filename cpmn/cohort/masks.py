"""A mask that a row names: read, placed on its scan's grid, and refused where it cannot be right."""

from pathlib import Path

import SimpleITK as sitk

from cpmn.cohort.sheet import Patient
from cpmn.errors import CpmnError, PatientError
from cpmn.volume.images import MASK_TOLERANCE_MM, describe_grid, holds_ids, on_grid_of, read_image


def read_mask(
    patient: Patient, path: Path, scan: sitk.Image, scan_name: str, tolerance_mm: float = MASK_TOLERANCE_MM
) -> sitk.Image:
    """Mask of `patient` as `read_ids` reads it.

    Raises PatientError as `read_ids`, and for a mask that contradicts the patient's label: empty with label 1, or not
    empty with label 0.
    """
    mask = read_ids(patient, path, scan, scan_name, tolerance_mm)
    _check_label(patient, bool(sitk.GetArrayViewFromImage(mask).any()), path)
    return mask


def read_ids(
    patient: Patient, path: Path, scan: sitk.Image, scan_name: str, tolerance_mm: float = MASK_TOLERANCE_MM
) -> sitk.Image:
    """Mask of `patient` from `path`, its values as given (uint16), which must lie on the grid of `scan`.

    A mask whose axes are flipped or swapped, but whose voxels lie where those of the scan lie, is turned. The result
    has exactly the geometry of `scan`.

    Raises PatientError if the mask cannot be read, lies on another grid, or holds anything but whole numbers from 0 to
    65535.
    """
    try:
        mask = read_image(path)
    except CpmnError as error:
        raise PatientError(
            patient.patient_id, f"the mask cannot be read: {error}", "Give a readable file.", path
        ) from error
    placed = on_grid_of(scan, mask, tolerance_mm)
    if placed is None:
        problem = f"the mask is on another grid than the {scan_name}: {describe_grid(mask)}, not {describe_grid(scan)}"
        remedy = f"Give the mask on the voxels of the series that cohort.csv names as {scan_name.lower()}"
        raise PatientError(patient.patient_id, problem, f"{remedy}.", path)
    if not holds_ids(sitk.GetArrayViewFromImage(placed)):
        remedy = "Give clot ids: whole numbers from 0 (background) to 65535"
        raise PatientError(patient.patient_id, "the mask does not hold clot ids", f"{remedy}.", path)
    return sitk.Cast(placed, sitk.sitkUInt16)


def _check_label(patient: Patient, any_clot: bool, path: Path) -> None:
    if patient.label == 1 and not any_clot:
        remedy = "Give the annotation, or set label to 0 if there is no embolism"
        raise PatientError(patient.patient_id, "label is 1 (PE) but the mask is empty", f"{remedy}.", path)
    if patient.label == 0 and any_clot:
        remedy = "Set label to 1, or remove the mask"
        raise PatientError(patient.patient_id, "label is 0 (no PE) but the mask marks clots", f"{remedy}.", path)
