"""Agreement of two masks of one patient, on the native grid: overlap and surfaces.

Masks are arrays (z, y, x), non-zero is foreground; spacings are (x, y, z) in mm.
"""

import math
import warnings

import numpy as np

from cpmn.imports import MONAI_OPTIONAL, without


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
    faces, and distances run between voxel centres: MONAI's, as in Metrics Reloaded (Maier-Hein 2024).

    Returns
    -------
    `assd_mm`, the mean over both surfaces' voxels of the distance to the other; `hd95_mm`, the larger of the two
    directions' 95th percentiles; `nsd`, the share of both surfaces' voxels within `tolerance_mm` (Nikolov 2018).
    Distances are NaN where a mask is empty; `nsd` is then 0, and NaN when both are.
    """
    p, r = prediction != 0, reference != 0
    if not p.any() or not r.any():
        return {"assd_mm": math.nan, "hd95_mm": math.nan, "nsd": 0.0 if p.any() or r.any() else math.nan}
    to_r, to_p = _surface_distances(p, r, spacing)
    both = np.concatenate([to_r, to_p])
    return {
        "assd_mm": float(both.mean()),
        "hd95_mm": float(max(np.percentile(to_r, 95), np.percentile(to_p, 95))),
        "nsd": float((both <= tolerance_mm).mean()),
    }


def _surface_distances(first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...]) -> list[np.ndarray]:
    """From each voxel of the first mask's surface to the second's surface, and back, in mm."""
    import torch

    with without(MONAI_OPTIONAL):  # a second to load
        from monai.metrics.utils import get_edge_surface_distance

    one, other = (torch.from_numpy(mask) for mask in (first, second))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it passes itself
        _, distances, _ = get_edge_surface_distance(one, other, spacing=spacing[::-1], symmetric=True)
    return [np.asarray(values, float) for values in distances]
