"""How noisy a scan is."""

import numpy as np

TISSUE_HU = (-50.0, 150.0)  # our choice: soft tissue, where edges are faint
FEWEST = 1000  # voxels; fewer say nothing
ROBUST = 1.4826  # standard deviation of a normal distribution by its median absolute deviation


def noise_hu(hu: np.ndarray) -> float | None:
    """Standard deviation of voxel noise in soft tissue, HU; None without soft tissue. `hu` is (z, y, x).

    From each voxel less the mean of its two neighbours along x, whose variance is 3/2 of white noise's. A smooth kernel
    correlates neighbours, so that this is less than the noise itself: it compares scans, and is no measurement.
    """
    left, middle, right = (hu[..., part].astype(np.float32) for part in (slice(None, -2), slice(1, -1), slice(2, None)))
    low, high = np.minimum(np.minimum(left, middle), right), np.maximum(np.maximum(left, middle), right)
    inside = (low > TISSUE_HU[0]) & (high < TISSUE_HU[1])
    if inside.sum() < FEWEST:
        return None
    apart = middle[inside] - (left[inside] + right[inside]) / 2
    return float(ROBUST * np.median(np.abs(apart - np.median(apart))) / np.sqrt(1.5))
