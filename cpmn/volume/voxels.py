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


def between(mask: np.ndarray, axis: int) -> np.ndarray:
    """Whether a voxel is in the mask or has some of it on both sides along `axis`, boolean."""
    back = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
    return np.logical_or.accumulate(mask, axis) & back
