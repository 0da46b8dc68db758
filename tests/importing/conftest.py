"""Made-up trees in the forms of the public sets: no public set can be had here."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.dicom.conftest import COLUMNS, ROWS, make_slice

SLICES = 12
SHAPE = (SLICES, ROWS, COLUMNS)
STEP_MM = 2.5


@pytest.fixture
def write_dicom() -> Callable[..., None]:
    """Write a series into a folder: file n (from 1), called as `name` says, lies at height `heights[n - 1]`."""

    def write(folder: Path, heights: Sequence[float], name: str = "D{:04d}.dcm", **tags) -> None:
        folder.mkdir(parents=True)
        for index, height in enumerate(heights):
            dataset = make_slice(index, (-10.0, -20.0, float(height)), InstanceNumber=1, **tags)
            dataset.save_as(folder / name.format(index + 1), enforce_file_format=True)

    return write


@pytest.fixture
def write_image() -> Callable[..., None]:
    """Write an array (z, y, x) as an image file of the voxels of `write_dicom`, from its lowest slice upwards."""

    def write(path: Path, array: np.ndarray, x_mm: float = 0.8) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((x_mm, 0.7, STEP_MM))
        sitk.WriteImage(image, str(path))

    return write


@pytest.fixture
def chest() -> np.ndarray:
    """HU (z, y, x) with the range of a chest CT."""
    return np.linspace(-1000, 400, np.prod(SHAPE)).astype(np.int16).reshape(SHAPE)
