"""Groups of clots by what makes them easy to see: volume and contrast."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

VOLUMES_ML = (0.0, 0.1, 0.3, 1.0, np.inf)
CONTRASTS_HU = {
    "15 HU or more brighter": (15.0, np.inf),
    "5 to 15 HU brighter": (5.0, 15.0),
    "within 5 HU": (-5.0, 5.0),
    "5 to 15 HU darker": (-15.0, -5.0),
    "15 HU or more darker": (-np.inf, -15.0),
}


def clot_groups() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """By name, what picks a group's clots from their volumes in mL and their contrasts to blood in HU."""
    groups: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"all": lambda ml, _: np.ones(len(ml), bool)}
    for low, high in pairwise(VOLUMES_ML):
        name = f"{low:g} mL or more" if np.isinf(high) else f"{low:g} to {high:g} mL"
        groups[name] = lambda ml, _, low=low, high=high: (ml >= low) & (ml < high)
    for name, (low, high) in CONTRASTS_HU.items():
        groups[name] = lambda _, hu, low=low, high=high: (hu >= low) & (hu < high)
    return groups
