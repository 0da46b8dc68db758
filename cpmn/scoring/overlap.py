"""Agreement of two masks of one patient, on the native grid: overlap and surfaces.

Masks are arrays (z, y, x), non-zero is foreground; spacings are (x, y, z) in mm.
"""

import math

import numpy as np
from scipy import ndimage


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice 2|P n R| / (|P| + |R|) (Dice 1945): 0 without a prediction; NaN when both are empty, as nothing is asked."""
    p, r = prediction != 0, reference != 0
    total = int(p.sum()) + int(r.sum())
    return 2 * int((p & r).sum()) / total if total else math.nan


def surface_agreement(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...], tolerance_mm: float = 1.0
) -> dict[str, float]:
    """Distances of the two surfaces, in mm.

    A surface is the foreground voxels with a background voxel (or the edge of the volume) beside one of their six
    faces, and distances run between voxel centres, as in MONAI and Metrics Reloaded (Maier-Hein 2024).

    Returns
    -------
    `assd_mm`, the mean over both surfaces' voxels of the distance to the other; `hd95_mm`, the larger of the two
    directions' 95th percentiles; `nsd`, the share of both surfaces' voxels within `tolerance_mm` (Nikolov 2018).
    Distances are NaN where a mask is empty; `nsd` is then 0, and NaN when both are.
    """
    p, r = prediction != 0, reference != 0
    if not p.any() or not r.any():
        return {"assd_mm": math.nan, "hd95_mm": math.nan, "nsd": 0.0 if p.any() or r.any() else math.nan}
    box = _bounding_box(p | r)
    surface_p, surface_r = _surface(p[box]), _surface(r[box])
    sampling = tuple(reversed(spacing))
    to_r = ndimage.distance_transform_edt(~surface_r, sampling=sampling)[surface_p]  # type: ignore[index]
    to_p = ndimage.distance_transform_edt(~surface_p, sampling=sampling)[surface_r]  # type: ignore[index]
    both = np.concatenate([to_r, to_p])
    return {
        "assd_mm": float(both.mean()),
        "hd95_mm": float(max(np.percentile(to_r, 95), np.percentile(to_p, 95))),
        "nsd": float((both <= tolerance_mm).mean()),
    }


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    return ndimage.find_objects(mask.astype(np.uint8))[0]


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~np.asarray(ndimage.binary_erosion(mask), bool)
