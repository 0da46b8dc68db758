"""What the observer knows of the contrast of clots on NCT, and the likelihood ratio averaged over it in closed form.

The priors are the phantom's own mixtures of uniform ranges (`cpmn.phantom.difficulty`).
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy import special

from cpmn.phantom.difficulty import DRAWN_ONCE_PER_PATIENT, MIXTURES, PATIENT_SPREAD_HU

DIFFICULTIES = ("learnable", "mixed", "realistic")
STEP_HU = 1.0  # between a patient's contrasts that are summed over; clots spread by 10 HU round each
SMALLEST_ENERGY = 1e-12  # 1/HU^2: a template that misses the grid says nothing


@dataclass(frozen=True)
class Contrasts:
    """Contrast of a clot: one of several ranges (low, high) in HU, with weights that sum to 1."""

    ranges: tuple[tuple[float, float], ...]
    weights: tuple[float, ...]

    def log_ratio(self, u: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Log of the mean of exp(c u - c^2 b / 2) over c, for responses u and energies b (n,)."""
        logs = [
            np.log(w) + uniform_log_ratio(*limits, u, b) for w, limits in zip(self.weights, self.ranges, strict=True)
        ]
        return np.logaddexp.reduce(logs, axis=0)


@dataclass(frozen=True)
class PatientContrasts:
    """Contrasts of a patient whose clots share it: `ranges` (r) of which states (s, 2) take one or two, evenly, with
    log weights (s,). A state of one range names it twice."""

    ranges: tuple[tuple[float, float], ...]
    states: np.ndarray
    log_weights: np.ndarray


def uniform_log_ratio(low: float, high: float, u: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Log of the mean of exp(c u - c^2 b / 2) over c from low to high: a Gaussian integral between two limits."""
    b = np.maximum(b, SMALLEST_ENERGY)
    root = np.sqrt(b)
    first, last = root * (low - u / b), root * (high - u / b)
    flip = first > 0  # the difference of the two upper tails instead, which keeps its digits
    first, last = np.where(flip, -last, first), np.where(flip, -first, last)
    below, above = special.log_ndtr(first), special.log_ndtr(last)
    mass = above + np.log1p(-np.exp(np.minimum(below - above, -1e-300)))
    return u * u / (2 * b) + 0.5 * np.log(2 * np.pi / b) + mass - np.log(high - low)


def clot_contrasts(difficulty: str) -> Contrasts:
    """Prior of one clot where each clot draws its own."""
    parts = [(limits, c.share / len(c.ranges)) for c in MIXTURES[difficulty] for limits in c.ranges]
    return Contrasts(tuple(limits for limits, _ in parts), tuple(weight for _, weight in parts))


@cache
def patient_contrasts(difficulty: str) -> PatientContrasts:
    """Prior of a patient whose clots share one contrast (or two: bright and dark), each clot +- PATIENT_SPREAD_HU."""
    centers: list[float] = []
    states, weights = [], []
    for component in MIXTURES[difficulty]:
        places = []
        for low, high in component.ranges:
            count = max(1, round((high - low) / STEP_HU))
            places.append(range(len(centers), len(centers) + count))
            centers += (low + (np.arange(count) + 0.5) * (high - low) / count).tolist()
        combined = list(product(*places))
        states += [(one[0], one[-1]) for one in combined]
        weights += [component.share / len(combined)] * len(combined)
    ranges = tuple((center - PATIENT_SPREAD_HU, center + PATIENT_SPREAD_HU) for center in centers)
    return PatientContrasts(ranges, np.array(states), np.log(weights))


def is_shared(difficulty: str) -> bool:
    """Whether a patient's clots share their contrast."""
    return difficulty in DRAWN_ONCE_PER_PATIENT
