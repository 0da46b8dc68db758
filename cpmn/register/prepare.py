"""Working images of a registration: cropped to the lungs, isotropic, and alike in both phases."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.lungs import between_lungs
from cpmn.config.register import RegisterConfig

MOVING_EXTRA_MM = 20.0  # our choice: the moving image shows more than the fixed one, so that the warp can reach for it


@dataclass(frozen=True)
class Side:
    """One of the two images of a registration."""

    image: sitk.Image
    """Native CT in HU."""
    lungs: sitk.Image
    """Lung mask on its grid, uint8."""
    working: sitk.Image
    """Clipped HU on the working grid, float32."""
    seen: sitk.Image
    """1 where the working grid lies inside the field of view, uint8."""
    near: sitk.Image
    """1 where besides a lung is near, uint8."""


def prepare(image: sitk.Image, lungs: sitk.Image, config: RegisterConfig, extra_mm: float = 0.0) -> Side:
    """Working image round the lungs, with the configured margin and `extra_mm` more."""
    grid = lung_box(lungs, config.spacing_mm, config.margin_mm + extra_mm)
    seen = reach(image, grid)
    near = sitk.And(seen, near_lungs(lungs, grid, config.reach_mm))
    working = working_image(clip(image, lungs, config.window_hu, config.between_lungs_hu), grid, config.window_hu[0])
    return Side(image, lungs, working, seen, near)


def lung_box(lungs: sitk.Image, spacing_mm: float, margin_mm: float) -> sitk.Image:
    """Empty float32 grid, axis-parallel and isotropic, that holds the mask's foreground and a margin on every side."""
    corners = lung_corners(lungs)
    low, high = corners.min(axis=0) - margin_mm, corners.max(axis=0) + margin_mm
    size = np.ceil((high - low) / spacing_mm).astype(int)
    grid = sitk.Image(size.tolist(), sitk.sitkFloat32)
    grid.SetSpacing((spacing_mm,) * 3)
    grid.SetOrigin(low.tolist())
    return grid


def lung_corners(lungs: sitk.Image) -> np.ndarray:
    """The eight corners, shape (8, 3) in mm, of the bounding box of the mask's foreground (value 1)."""
    x, y, z, *size = _lung_shape(lungs).GetBoundingBox(1)
    ends = [(start - 0.5, start + length - 0.5) for start, length in zip((x, y, z), size, strict=True)]
    picks = [[ends[axis][corner[axis]] for axis in range(3)] for corner in np.ndindex(2, 2, 2)]
    return np.array([lungs.TransformContinuousIndexToPhysicalPoint(pick) for pick in picks])


def lung_centre(lungs: sitk.Image) -> np.ndarray:
    """Centre of mass of the mask's foreground (value 1), shape (3,), in mm."""
    return np.array(_lung_shape(lungs).GetCentroid(1))


def clip(image: sitk.Image, lungs: sitk.Image, window_hu: tuple[float, float], between_lungs_hu: float) -> sitk.Image:
    """HU clipped to `window_hu`, and to `between_lungs_hu` at most in and between the lungs (float32, same grid).

    Contrast medium flows in and between the lungs: clipped to soft tissue there, an opacified vessel looks like an
    unenhanced one and does not pull. Ribs lie outside: above soft tissue, they hold the lungs' surface (our choice).
    """
    clipped = sitk.GetArrayFromImage(sitk.Clamp(image, sitk.sitkFloat32, *window_hu))
    inside = between_lungs(sitk.GetArrayViewFromImage(lungs) > 0)
    clipped[inside] = np.minimum(clipped[inside], between_lungs_hu)
    result = sitk.GetImageFromArray(clipped)
    result.CopyInformation(image)
    return result


def working_image(clipped: sitk.Image, grid: sitk.Image, outside_hu: float) -> sitk.Image:
    """Clipped HU on `grid` (float32); `outside_hu` where the image does not reach.

    Fine voxels are averaged first, so that noise and thin slices do not alias.
    """
    factors = [max(1, int(g / s)) for g, s in zip(grid.GetSpacing(), clipped.GetSpacing(), strict=True)]
    return sitk.Resample(sitk.BinShrink(clipped, factors), grid, sitk.Transform(), sitk.sitkLinear, outside_hu)


def reach(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """1 where `grid` lies inside the field of view of `image`, else 0 (uint8)."""
    inside = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    inside.CopyInformation(image)
    return sitk.Resample(inside, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)


def near_lungs(lungs: sitk.Image, grid: sitk.Image, distance_mm: float) -> sitk.Image:
    """1 where `grid` is at most `distance_mm` away from a lung (negative: at least so deep inside), else 0 (uint8)."""
    on_grid = sitk.Resample(lungs, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return sitk.SignedMaurerDistanceMap(on_grid, squaredDistance=False, useImageSpacing=True) <= distance_mm


def _lung_shape(lungs: sitk.Image) -> sitk.LabelShapeStatisticsImageFilter:
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(lungs)
    return shape
