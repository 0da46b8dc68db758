"""Means over the voxels of a mask, and what lies between them."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def smoothed_inside(hu: np.ndarray, mask: np.ndarray, sigma: float | Sequence[float]) -> np.ndarray:
    """HU (z, y, x) float32, smoothed over the voxels of `mask` alone (normalised convolution, Knutsson 1993).

    sigma : of the Gaussian in voxels, one for all axes or (z, y, x). Far from the mask the result is 0.
    """
    total = ndimage.gaussian_filter(np.where(mask, hu, 0).astype(np.float32), sigma)
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)


def within(mask: np.ndarray, mm: float, spacing: Sequence[float] | np.ndarray) -> np.ndarray:
    """Voxels (z, y, x) within `mm` of those of `mask`, boolean; `spacing` is (x, y, z) in mm."""
    near = np.zeros(mask.shape, bool)
    if mask.any():
        (box,) = ndimage.find_objects((mask != 0).astype(np.uint8))
        margins = [int(mm // step) for step in spacing[::-1]]
        wide = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margins, strict=True))
        near[wide] = np.asarray(ndimage.distance_transform_edt(mask[wide] == 0, sampling=spacing[::-1])) <= mm
    return near


def between(mask: np.ndarray, axis: int) -> np.ndarray:
    """Whether a voxel is in the mask or has some of it on both sides along `axis`, boolean."""
    back = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
    return np.logical_or.accumulate(mask, axis) & back
