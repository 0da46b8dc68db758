"""Embolus masks of public sets, brought onto the grid of the CTPA that they were drawn on."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.checks.finding import settle_patient
from cpmn.checks.mask import check_mask
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.archive import files_below
from cpmn.dicom.choice import choose_series
from cpmn.dicom.headers import read_file_set
from cpmn.dicom.pixels import read_volume
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.regrid import image_of
from cpmn.dicom.series import Series
from cpmn.errors import CpmnError, PatientError
from cpmn.importing.entry import natural
from cpmn.volume.clots import clot_ids
from cpmn.volume.images import describe_grid, holds_ids, image_like, on_grid_of, read_image

SPACING_TOLERANCE = 0.01  # our choice, relative: labels of READ say 0.62598 mm where DICOM says 0.625 mm


def mask_of_slices(
    patient: str,
    folder: Path,
    read: Callable[[], np.ndarray],
    spacing: tuple[float, ...] | None = None,
    overrule: Collection[str] = (),
) -> sitk.Image:
    """Clot ids on the grid of the DICOM series in `folder`, from an array that follows its files' names.

    Parameters
    ----------
    read : gives the labels (z, y, x), one slice per DICOM file, in the order of the file names.
    spacing : what the labels' own header says (x, y, z) in mm, to be checked.
    overrule : checks of masks (cpmn/checks/mask.py) whose refusal does not count.

    Readers order slices by position instead: that is one of the ways in which the mask may fit better.

    Raises PatientError if sizes or spacing differ, the labels are no ids, the series is unevenly spaced or tilted, or
    a check refuses the mask.
    """
    series, hu = _read_series(patient, folder)
    geometry = series.geometry
    assert geometry is not None
    labels = np.asarray(read())
    if labels.shape != hu.shape:
        raise _problem(patient, f"the mask has {_size(labels)} voxels, the CTPA {_size(hu)}", folder)
    if spacing and not np.allclose(spacing, geometry.spacing, rtol=SPACING_TOLERANCE, atol=0):
        said, found = (" x ".join(f"{value:.3f}" for value in values) for values in (spacing, geometry.spacing))
        raise _problem(patient, f"the mask's voxels are {said} mm, the CTPA's {found} mm", folder)
    by_name = sorted(range(len(series.slices)), key=lambda index: natural(series.slices[index].path.name))
    placed = np.empty_like(labels)
    placed[by_name] = labels
    _require_ids(patient, placed, folder)
    other = {"with its slices in the order of their positions": image_of(labels.astype(np.uint16), geometry)}
    mask, scan = image_of(placed.astype(np.uint16), geometry), image_of(hu, geometry)
    return _checked(patient, mask, scan, folder, overrule, other)


def mask_of_image(patient: str, image: Path, labels: Path, overrule: Collection[str] = ()) -> sitk.Image:
    """Clot ids from an image file on the grid of another; `overrule` as in `mask_of_slices`.

    Raises PatientError if it lies on another grid, does not hold ids, or a check refuses it.
    """
    try:
        scan, mask = read_image(image), read_image(labels)
    except CpmnError as error:
        raise _problem(patient, str(error).rstrip("."), labels) from error
    placed = on_grid_of(scan, mask)
    if placed is None:
        raise _problem(
            patient, f"the mask is on another grid: {describe_grid(mask)}, not {describe_grid(scan)}", labels
        )
    _require_ids(patient, sitk.GetArrayViewFromImage(placed), labels)
    return _checked(patient, sitk.Cast(placed, sitk.sitkUInt16), scan, labels, overrule)


def _checked(
    patient: str,
    mask: sitk.Image,
    scan: sitk.Image,
    path: Path,
    overrule: Collection[str],
    others: Mapping[str, sitk.Image] | None = None,
) -> sitk.Image:
    """Clot ids of a mask (uint16) that no check refuses."""
    settle_patient(patient, check_mask(mask, scan, "ctpa", others), overrule, path)
    return image_like(clot_ids(sitk.GetArrayFromImage(mask)).astype(np.uint16), mask)


def _require_ids(patient: str, values: np.ndarray, path: Path) -> None:
    if not holds_ids(values):
        raise _problem(patient, "the mask does not hold whole numbers from 0 to 65535", path)


def _read_series(patient: str, folder: Path) -> tuple[Series, np.ndarray]:
    """The series that `convert` will take, its slices in the order of their positions, and its HU (z, y, x).

    One that `convert` would resample is refused: a mask drawn on its slices has no place on the new grid.
    """
    config = ConvertConfig.model_validate({"uneven_spacing": "refuse", "gantry_tilt": "refuse"})
    try:
        series = choose_series(
            read_file_set(folder, files_below(folder)), phase="ctpa", series_uid="", config=config
        ).series
        assert series.geometry is not None
        return series, read_volume(series.slices, series.geometry).hu
    except SeriesProblem as problem:
        raise _problem(patient, f"the CTPA cannot be read: {problem.problem}", problem.file or folder) from problem


def _size(array: np.ndarray) -> str:
    return " x ".join(str(size) for size in array.shape[::-1])


def _problem(patient: str, problem: str, path: Path) -> PatientError:
    return PatientError(patient, problem, "Download the case again.", path)
