"""Slices that stand unevenly or sheared, brought onto an even, straight grid by linear interpolation."""

import math

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.dicom.geometry import Geometry
from cpmn.volume.images import AIR_HU


def on_grid(hu: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Slices (z, y, x) as they were measured, on the voxels of `geometry`: unchanged if those are the same."""
    if geometry.shifts:
        hu = unshear_slices(hu, geometry.shifts)
    if geometry.uneven:
        hu = resample_slices(hu, np.array(geometry.heights), geometry.spacing[2])
    return hu


def grid_voxels(shape: tuple[int, int, int], geometry: Geometry) -> int:
    """How many voxels `on_grid` makes of slices of a `shape` (z, y, x)."""
    layers, rows, columns = shape
    if geometry.shifts:
        x, y = np.ceil(np.max(geometry.shifts, axis=0)).astype(int).tolist()
        rows, columns = rows + y, columns + x
    if geometry.uneven:
        layers = math.ceil((geometry.heights[-1] - geometry.heights[0]) / geometry.spacing[2] + 1e-6)
    return layers * rows * columns


def image_of(hu: np.ndarray, geometry: Geometry) -> sitk.Image:
    """Image of voxels (z, y, x) that stand as `geometry` says."""
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction.ravel().tolist())
    return image


def resample_slices(hu: np.ndarray, heights: np.ndarray, step: float) -> np.ndarray:
    """Linear interpolation of slices (z, y, x) at `heights` (ascending, mm) to every `step` mm from the first."""
    wanted = np.arange(heights[0], heights[-1] + step * 1e-6, step)
    upper = np.clip(np.searchsorted(heights, wanted, side="left"), 1, len(heights) - 1)
    weight = (wanted - heights[upper - 1]) / (heights[upper] - heights[upper - 1])
    result = np.empty((len(wanted), *hu.shape[1:]), np.int16)
    for index, (above, share) in enumerate(zip(upper, weight, strict=True)):
        result[index] = np.rint((1 - share) * hu[above - 1] + share * hu[above])
    return result


def unshear_slices(hu: np.ndarray, shifts: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Slices (z, y, x) moved to their place in a grid that holds them all; `shifts` in pixels (x, y), not negative.

    Whole shifts copy the pixels, others interpolate linearly; outside the slices there is air.
    """
    x, y = np.ceil(np.max(shifts, axis=0)).astype(int)
    result = np.empty((len(hu), hu.shape[1] + y, hu.shape[2] + x), np.int16)
    for index, shift in enumerate(shifts):
        wide = np.pad(hu[index].astype(np.float32), ((0, y), (0, x)), constant_values=AIR_HU)
        result[index] = np.rint(ndimage.shift(wide, shift[::-1], order=1, mode="grid-constant", cval=AIR_HU))
    return result
