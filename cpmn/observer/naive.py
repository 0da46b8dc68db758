"""The naive floor: is any stretch of artery brighter than the rest? It knows the artery mask, and no twin."""

import numpy as np

from cpmn.voxels import smoothed_inside

SMOOTHING_MM = 3.0  # sigma; about the radius of a segmental artery; our choice
INSIDE = 0.9  # a voxel is artery where at least this share of it is; our choice, against partial volume
ABOVE_MEDIAN_HU = 10.0  # below the learnable clots' 15 HU, above what smoothed noise reaches often; our choice


def bright_artery_ml(hu: np.ndarray, artery: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Volume in mL of artery that is brighter than the patient's median artery by ABOVE_MEDIAN_HU.

    Parameters
    ----------
    hu : NCT (z, y, x).
    artery : share (z, y, x) of each voxel that is artery.
    spacing : (x, y, z) in mm. Smoothing counts artery voxels only.
    """
    inside = artery >= INSIDE
    sigma = [SMOOTHING_MM / step for step in spacing[::-1]]
    smooth = smoothed_inside(hu, inside, sigma)[inside]
    bright = smooth > np.median(smooth) + ABOVE_MEDIAN_HU
    return float(bright.sum() * np.prod(spacing) / 1000)


def mean_artery_hu(hu: np.ndarray, artery: np.ndarray) -> float:
    """Mean HU of the artery voxels: must tell nothing, or the phantom leaks its label."""
    return float(hu[artery >= INSIDE].mean())
