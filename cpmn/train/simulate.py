"""Simulated clots in patients without any, from easy to hard.

The idea of training on simulated clots of growing difficulty is SPTA's (see `cpmn.anatomy.artery_vein`); shapes and
numbers are ours. Geometry follows the NCT alone, so that variants without CTPA see the same clots.
"""

import cc3d
import numpy as np
from scipy import ndimage

from cpmn.anatomy.vessels import OPACIFIED_HU, blood_like, filled_share
from cpmn.config.train import Spacing, TrainConfig
from cpmn.volume.voxels import smoothed_inside

RADIUS_MM = (2.0, 10.0)
"""Ours: cut by their vessel's wall, balls of these have 0.38 mL in the median and 0.6 on average on phantoms' CTPA. The
phantoms' own have 0.35 and 0.6."""
CONTRAST_SD_HU = 5.0  # ours: spread of the clots' contrast about the schedule
CTPA_CLOT_HU = (33.0, 15.0)  # acute clot on CTPA, mean and SD (domain facts)
EDGE_VOXELS = (0.3, 0.7)  # ours: SD of the smoothing of a clot's ends against the blood
FULL = 0.9  # ours: share from which a voxel counts as blood alone
FEWEST_VOXELS = 4  # ours: less is noise, not a clot


def contrast_at(step: int, config: TrainConfig) -> float:
    """Mean contrast (HU above blood on NCT) at `step`: linear from `simulated_hu[0]` to `simulated_hu[1]`."""
    start, end = config.sampling.simulated_hu
    return start + (end - start) * step / max(1, config.schedule.steps - 1)


def draw_contrast(step: int, config: TrainConfig, random: np.random.Generator) -> float:
    """Contrast of a clot at `step` in HU, spread about the schedule's."""
    return contrast_at(step, config) + random.normal(0, CONTRAST_SD_HU)


def insert_embolus(
    nct: np.ndarray | None,
    ctpa: np.ndarray | None,
    *,
    at: np.ndarray,
    spacing: Spacing,
    contrast: float,
    random: np.random.Generator,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray]:
    """Patches in HU (z, y, x) with one embolus in the vessel at voxel `at` (z, y, x), and its mask (bool).

    The NCT rises by the `contrast` in HU, or falls where that is negative; the CTPA falls by what contrast there
    exceeds clot by, on average, if there is any. Both keep the scan's noise. Vessel is what has blood's HU on the NCT
    or, without one, what contrast fills on the CTPA; the clot reaches to its wall (`filled_share`).
    Where there is none within the clot's radius nothing changes and the mask is empty.
    """
    radius, defect = random.uniform(*RADIUS_MM), random.normal(*CTPA_CLOT_HU)
    scan = np.asarray(ctpa if nct is None else nct)
    vessel = scan >= OPACIFIED_HU if nct is None else blood_like(scan)
    clot = _clot_shape(vessel, at, spacing, radius)
    lumen = filled_share(scan, vessel)
    rim = np.asarray(ndimage.binary_dilation(clot, np.ones((3, 3, 3))), bool) & (lumen > 0) & ~vessel
    clot |= rim  # to the wall, as readers outline
    mask = clot & (lumen >= 0.5)
    if mask.sum() < FEWEST_VOXELS:
        return nct, ctpa, np.zeros(mask.shape, bool)
    share = lumen * smoothed_inside(clot.astype(np.float32), lumen > 0, random.uniform(*EDGE_VOXELS))
    if ctpa is not None and (filled := mask & (ctpa >= OPACIFIED_HU)).any():
        blood = ctpa[filled & (lumen >= min(FULL, lumen[filled].max()))].mean()
        ctpa = ctpa + (defect - float(blood)) * share
    return None if nct is None else nct + contrast * share, ctpa, mask


def _clot_shape(blood: np.ndarray, at: np.ndarray, spacing: Spacing, radius: float) -> np.ndarray:
    """Blood (bool) within `radius` mm of the voxel `at`, the piece that is nearest to it."""
    grid = np.indices(blood.shape).reshape(3, -1).T
    distance = np.linalg.norm((grid - at) * spacing[::-1], axis=1).reshape(blood.shape)
    vessel = blood & (distance <= radius)
    if not vessel.any():
        return vessel
    pieces = np.asarray(cc3d.connected_components(vessel))
    return pieces == pieces.ravel()[np.argmin(np.where(vessel, distance, np.inf))]
