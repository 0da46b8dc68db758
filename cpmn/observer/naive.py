"""Naive readers: is any artery brighter than the rest? They know the artery mask, but neither twin nor form."""

import numpy as np

from cpmn.volume.voxels import smoothed_inside

SMOOTHING_MM = 3.0  # sigma; about the radius of a segmental artery; our choice
INSIDE = 0.9  # a voxel is artery where at least this share of it is; our choice, against partial volume
ABOVE_MEDIAN_HU = 10.0  # below the learnable clots' 15 HU, above what smoothed noise reaches often; our choice
BRIGHTEST_SMOOTHING_MM = 1.5  # sigma; chosen, with the volume, on 40 + 40 patients of the benchmark's opened cohort
BRIGHTEST_ML = 0.2


def bright_artery_ml(hu: np.ndarray, artery: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Volume in mL of artery that is brighter than the patient's median artery by ABOVE_MEDIAN_HU.

    Parameters
    ----------
    hu : NCT (z, y, x).
    artery : share (z, y, x) of each voxel that is artery.
    spacing : (x, y, z) in mm. Smoothing counts artery voxels only.
    """
    smooth = _smoothed_artery(hu, artery, spacing, SMOOTHING_MM)
    bright = smooth > np.median(smooth) + ABOVE_MEDIAN_HU
    return float(bright.sum() * np.prod(spacing) / 1000)


def brightest_artery_hu(hu: np.ndarray, artery: np.ndarray, spacing: tuple[float, ...]) -> float:
    """How far the brightest BRIGHTEST_ML of artery lie above the patient's median artery, in HU; arguments as above.

    A linear filter, the patient's own blood and the best place: what remains for a reader who knows where all arteries
    are but not how a clot differs in form from a stretch of brighter blood.
    """
    smooth = _smoothed_artery(hu, artery, spacing, BRIGHTEST_SMOOTHING_MM)
    count = max(1, round(BRIGHTEST_ML * 1000 / float(np.prod(spacing))))
    return float(np.sort(smooth)[-count:].mean() - np.median(smooth))


def _smoothed_artery(hu: np.ndarray, artery: np.ndarray, spacing: tuple[float, ...], sigma_mm: float) -> np.ndarray:
    """HU (n,) of the artery's voxels, smoothed among themselves."""
    inside = artery >= INSIDE
    return smoothed_inside(hu, inside, [sigma_mm / step for step in spacing[::-1]])[inside]


def mean_artery_hu(hu: np.ndarray, artery: np.ndarray) -> float:
    """Mean HU of the artery voxels: must tell nothing, or the phantom leaks its label."""
    return float(hu[artery >= INSIDE].mean())
