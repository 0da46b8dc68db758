"""Smooth random variation that is fixed in the reference space: of blood, of contrast medium, of the lung."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

FWHM_PER_SD = 2.355  # of a Gaussian
EXTENT_MM = 200.0  # half the side of the cube in which the variation is drawn; beyond, the edge's value goes on
FINEST_MM = 3.0  # step of the lattice between whose points is interpolated; otherwise a quarter of the width


def smooth_field(points: np.ndarray, fwhm_mm: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian variation (n,) of mean 0 and SD 1 at points (n, 3) in mm, with the given correlation width."""
    step = max(FINEST_MM, fwhm_mm / 4)
    count = round(2 * EXTENT_MM / step) + 1
    lattice = gaussian_filter(random.standard_normal((count,) * 3, np.float32), fwhm_mm / FWHM_PER_SD / step)
    lattice /= lattice.std()
    indices = (points.T.astype(np.float32) + np.float32(EXTENT_MM)) / np.float32(step)
    return map_coordinates(lattice, indices, order=1, mode="nearest")
