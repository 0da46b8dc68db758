"""A mask that a row names: read, placed on its scan's grid, and refused where it cannot be right."""

from pathlib import Path

import SimpleITK as sitk

from cpmn.cohort.sheet import Patient
from cpmn.errors import CpmnError, PatientError
from cpmn.volume.box import paste
from cpmn.volume.images import describe_grid, holds_ids, on_grid_of, read_image, turned_like

OTHER = {"NCT": "CTPA", "CTPA": "NCT"}
NAMED_BY = {"NCT": "nct_mask", "CTPA": "ctpa_mask"}


def read_mask(
    patient: Patient,
    path: Path,
    scan: sitk.Image,
    scan_name: str,
    other: sitk.Image | None = None,
) -> sitk.Image:
    """Mask of `patient` as `read_ids` reads it.

    Raises PatientError as `read_ids`, and for a mask that contradicts the patient's label: empty with label 1, or not
    empty with label 0.
    """
    mask = read_ids(patient, path, scan, scan_name, other=other)
    _check_label(patient, bool(sitk.GetArrayViewFromImage(mask).any()), path)
    return mask


def read_ids(
    patient: Patient,
    path: Path,
    scan: sitk.Image,
    scan_name: str,
    *,
    name: str = "the mask",
    other: sitk.Image | None = None,
) -> sitk.Image:
    """Mask of `patient` from `path`, its values as given (uint16), which must lie on the grid of `scan`.

    An image file, or a DICOM Segmentation (`.dcm`), whose values are the numbers of its segments and which may cover a
    part of the scan.

    A mask whose axes are flipped or swapped, but whose voxels lie where those of the scan lie, is turned. The result
    has exactly the geometry of `scan`. Messages call the mask `name`, and the scan `scan_name` ("NCT", "CTPA", or
    "prediction"). `other` is the scan of the other phase, where there is one.

    Raises PatientError if the mask cannot be read, lies on another grid (the message says so if that is the other
    phase's), or holds anything but whole numbers from 0 to 65535.
    """
    try:
        mask = _read_segments(path, scan) if path.suffix.lower() == ".dcm" else read_image(path)
    except CpmnError as error:
        raise PatientError(patient.patient_id, f"{name} cannot be read: {error}", "Give a readable file.", path) from (
            error
        )
    placed = on_grid_of(scan, mask)
    if placed is None:
        drawn_there = other is not None and on_grid_of(other, mask) is not None
        raise _on_another_grid(patient, path, mask, scan, scan_name, name, drawn_there)
    if not holds_ids(sitk.GetArrayViewFromImage(placed)):
        remedy = "Give clot ids: whole numbers from 0 (background) to 65535"
        raise PatientError(patient.patient_id, f"{name} does not hold clot ids", f"{remedy}.", path)
    return sitk.Cast(placed, sitk.sitkUInt16)


def _read_segments(path: Path, scan: sitk.Image) -> sitk.Image:
    """A Segmentation on the grid of `scan`, or as it is where it lies on none of its slices."""
    from cpmn.dicom.segmentation import read_segmentation  # loads highdicom, which few masks need

    part = turned_like(read_segmentation(path, scan), scan)
    start = [round(index) for index in scan.TransformPhysicalPointToContinuousIndex(part.GetOrigin())]
    if all(i >= 0 and i + n <= m for i, n, m in zip(start, part.GetSize(), scan.GetSize(), strict=True)):
        placed = on_grid_of(sitk.RegionOfInterest(scan, part.GetSize(), start), part)
        if placed is not None:
            return paste(placed, scan)
    return part


def _on_another_grid(
    patient: Patient, path: Path, mask: sitk.Image, scan: sitk.Image, scan_name: str, name: str, drawn_there: bool
) -> PatientError:
    """What is wrong with a mask that lies elsewhere; `drawn_there`: on the grid of the other phase."""
    problem = f"{name} is on another grid than the {scan_name}: {describe_grid(mask)}, not {describe_grid(scan)}"
    remedy = "Both must lie on the grid of the NCT."  # a prediction, and what it is scored against
    if scan_name in OTHER:
        remedy = f"Give the mask on the voxels of the series that cohort.csv names as {scan_name.lower()}."
    if drawn_there:
        theirs = OTHER[scan_name]
        problem = f"{name} lies on the grid of the {theirs}, not on the {scan_name}'s: was it drawn on the {theirs}?"
        remedy = f"If so, name it in {NAMED_BY[theirs]}; else {remedy[0].lower()}{remedy[1:]}"
    return PatientError(patient.patient_id, problem, remedy, path)


def _check_label(patient: Patient, any_clot: bool, path: Path) -> None:
    if patient.label == 1 and not any_clot:
        remedy = "Give the annotation, or set label to 0 if there is no embolism"
        raise PatientError(patient.patient_id, "label is 1 (PE) but the mask is empty", f"{remedy}.", path)
    if patient.label == 0 and any_clot:
        remedy = "Set label to 1, or remove the mask"
        raise PatientError(patient.patient_id, "label is 0 (no PE) but the mask marks clots", f"{remedy}.", path)
