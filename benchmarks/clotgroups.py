"""Groups of clots by what makes them easy to see: volume and contrast."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

VOLUMES_ML = (0.0, 0.1, 0.3, 1.0, np.inf)
CONTRASTS_HU = (0.0, 5.0, 15.0, np.inf)  # absolute


def clot_groups() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """By name, what picks a group's clots from their volumes in mL and their absolute contrasts to blood in HU."""
    groups: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"all": lambda ml, _: np.ones(len(ml), bool)}
    for low, high in pairwise(VOLUMES_ML):
        groups[_between(low, high, "mL")] = lambda ml, _, low=low, high=high: (ml >= low) & (ml < high)
    for low, high in pairwise(CONTRASTS_HU):
        groups[_between(low, high, "HU")] = lambda _, hu, low=low, high=high: (hu >= low) & (hu < high)
    return groups


def _between(low: float, high: float, unit: str) -> str:
    return f"{low:g} {unit} or more" if np.isinf(high) else f"{low:g} to {high:g} {unit}"
