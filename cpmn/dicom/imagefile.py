"""Volumes that come as one image file (NIfTI, NRRD, MetaImage) already in HU."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.pixels import HU_LIMIT
from cpmn.dicom.problem import SeriesProblem
from cpmn.errors import CpmnError
from cpmn.volume.forms import Unplaced, states_a_place
from cpmn.volume.images import AIR_HU, image_like, read_image

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
LUNG_OR_AIR_HU = -500.0  # our choice: every chest CT holds air or lung below; MR, masks and 0-255 exports do not
BONE_HU = 100.0  # our choice: every chest CT holds bone above
REMEDY = "Give the CT in Hounsfield units (air -1000, water 0), or its DICOM series."


@dataclass
class FileVolume:
    """HU image (int16) of a file, how many voxels were changed to fit, and whether the file says how its axes lie."""

    image: sitk.Image
    stored_type: str
    padding_voxels: int
    saturated_voxels: int
    rounded_voxels: int
    states_a_place: bool


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image file this module reads."""
    return path.name.lower().endswith(SUFFIXES)


def read_file(path: Path, config: ConvertConfig) -> FileVolume:
    """Read a 3D volume of integers or floats in HU.

    Raises SeriesProblem if it cannot be read, holds NaN, or its range is not that of a chest CT in HU.
    """
    try:
        image = read_image(path, config.nifti_forms)
    except Unplaced as error:
        raise SeriesProblem(error.problem, error.remedy, path) from error
    except CpmnError as error:
        raise SeriesProblem(str(error).rstrip("."), "Export it again.", path) from error
    values = sitk.GetArrayViewFromImage(image)
    if np.iscomplexobj(values) or not np.isfinite(values).all():
        raise SeriesProblem("the volume holds values that are not numbers (NaN or infinite)", REMEDY, path)
    low, high = float(values.min()), float(values.max())
    if low > LUNG_OR_AIR_HU or high < BONE_HU:
        raise SeriesProblem(f"values from {low:g} to {high:g} are not those of a chest CT in HU", REMEDY, path)
    whole = np.rint(values)
    hu = np.clip(whole, AIR_HU, HU_LIMIT).astype(np.int16)
    return FileVolume(
        image=image_like(hu, image),
        stored_type=image.GetPixelIDTypeAsString(),
        padding_voxels=int(np.count_nonzero(whole < AIR_HU)),
        saturated_voxels=int(np.count_nonzero(whole > HU_LIMIT)),
        rounded_voxels=int(np.count_nonzero(whole != values)),
        states_a_place=states_a_place(path),
    )
