"""Means over the voxels of a mask."""

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
