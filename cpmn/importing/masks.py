"""Embolus masks of public sets, brought onto the grid of the CTPA that they were drawn on."""

import logging
from collections.abc import Callable
from pathlib import Path

import cc3d
import numpy as np
import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.archive import files_below
from cpmn.dicom.choice import choose_series
from cpmn.dicom.headers import scan_files
from cpmn.dicom.pixels import read_volume
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.regrid import image_of
from cpmn.dicom.series import Series
from cpmn.errors import CpmnError, PatientError
from cpmn.importing.entry import natural
from cpmn.volume.images import describe_grid, holds_ids, on_grid_of, read_image

logger = logging.getLogger(__name__)

TISSUE_HU = (-200.0, 250.0)  # our choice: clots on CTPA are 6 to 87 HU (docs/phantom.md), partial volume on either side
SUSPICIOUS = 0.5  # our choice: share of labelled voxels in tissue; those of a flipped mask lie in lung or anywhere
SPACING_TOLERANCE = 0.01  # our choice, relative: labels of READ say 0.62598 mm where DICOM says 0.625 mm


def mask_of_slices(
    patient: str, folder: Path, read: Callable[[], np.ndarray], spacing: tuple[float, ...] | None = None
) -> sitk.Image:
    """Clot ids on the grid of the DICOM series in `folder`, from an array that follows its files' names.

    Parameters
    ----------
    read : gives the labels (z, y, x), one slice per DICOM file, in the order of the file names.
    spacing : what the labels' own header says (x, y, z) in mm, to be checked.

    Readers order slices by position instead: where the labelled voxels lie in tissue rather so, a warning says it.

    Raises PatientError if sizes or spacing differ, the labels are no ids, or the series is unevenly spaced or tilted.
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
    ids = clot_ids(placed)
    _require_ids(patient, ids, folder)
    _warn_unless_in_tissue(patient, placed, labels, hu)
    return image_of(ids.astype(np.uint16), geometry)


def mask_of_image(patient: str, image: Path, labels: Path) -> sitk.Image:
    """Clot ids, as they are, from an image file on the grid of another.

    Raises PatientError if it lies on another grid or does not hold ids.
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
    return sitk.Cast(placed, sitk.sitkUInt16)


def clot_ids(labels: np.ndarray) -> np.ndarray:
    """Labels (z, y, x) as clot ids; where one value marks all clots, each connected component gets its own.

    Components touch by face, edge or corner.
    """
    one_value = len(np.unique(labels[labels > 0])) == 1
    return cc3d.connected_components(labels > 0, connectivity=26) if one_value else labels


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
            scan_files(folder, files_below(folder)), phase="ctpa", series_uid="", config=config
        ).series
        assert series.geometry is not None
        return series, read_volume(series.slices, series.geometry).hu
    except SeriesProblem as problem:
        raise _problem(patient, f"the CTPA cannot be read: {problem.problem}", problem.file or folder) from problem


def _warn_unless_in_tissue(patient: str, by_name: np.ndarray, by_position: np.ndarray, hu: np.ndarray) -> None:
    """Say it where the labels would lie in tissue rather if slices were ordered by position."""
    if not by_name.any():
        return
    found, other = (_share_in_tissue(labels, hu) for labels in (by_name, by_position))
    if found < SUSPICIOUS < other:
        logger.warning(
            "patient %s: %.0f %% of the mask's voxels lie in tissue, and %.0f %% if its slices follow their positions "
            "instead of their file names: look at it before you use it",
            *(patient, 100 * found, 100 * other),
        )


def _share_in_tissue(labels: np.ndarray, hu: np.ndarray) -> float:
    values, (low, high) = hu[labels > 0], TISSUE_HU
    return float(np.mean((values > low) & (values < high)))


def _size(array: np.ndarray) -> str:
    return " x ".join(str(size) for size in array.shape[::-1])


def _problem(patient: str, problem: str, path: Path) -> PatientError:
    return PatientError(patient, problem, "Download the case again.", path)
