"""Scores: surfaces, tests, average precision, bootstrap."""

from collections.abc import Iterator

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.libraries import former
from benchmarks.libraries.trial import Trial
from cpmn.scoring import metrics
from cpmn.scoring.overlap import surface_agreement

GRID, SPACING = (200, 256, 256), (0.8, 0.8, 1.5)  # z, y, x; mm along x, y, z
CLOTS = 8
PATIENTS = 100


def trials() -> Iterator[Trial]:
    prediction, reference = _masks()
    yield Trial(
        "surface distances (ASSD, HD95, NSD)",
        "monai.metrics get_edge_surface_distance",
        "monai",
        lambda: former.surface_agreement(prediction, reference, SPACING),
        lambda: list(surface_agreement(prediction, reference, SPACING).values()),
        taken=True,
        why="same surfaces, percentile and mean",
        difference=_largest,
        unit="mm",
    )
    random = np.random.default_rng(0)
    first, second = random.random((2, PATIENTS)) < 0.8
    yield Trial(
        "McNemar's exact test",
        "statsmodels mcnemar",
        "statsmodels.stats.contingency_tables",
        lambda: former.mcnemar(first, second),
        lambda: metrics.mcnemar(first, second),
        taken=True,
        why="same p; once per comparison",
        difference=_largest,
        unit="p",
    )
    yield from _ranking(random)


def _ranking(random: np.random.Generator) -> Iterator[Trial]:
    labels = np.arange(PATIENTS) % 2
    scores = labels + random.normal(0, 1, PATIENTS)
    yield Trial(
        "average precision inside the bootstrap",
        "scikit-learn average_precision_score",
        "sklearn.metrics",
        lambda: metrics._precision_over_recall(labels, scores),
        lambda: average_precision_score(labels, scores),
        taken=False,
        why="called 2,000 times an interval",
        difference=_largest,
        unit="AP",
    )
    yield Trial(
        "AUC inside the bootstrap",
        "scikit-learn roc_auc_score",
        "sklearn.metrics",
        lambda: metrics.area(labels, scores),
        lambda: roc_auc_score(labels, scores),
        taken=False,
        why="called 2,000 times an interval",
        difference=_largest,
        unit="AUC",
    )
    yield Trial(
        "bootstrap over patients",
        "scipy.stats.bootstrap",
        "scipy.stats",
        lambda: metrics.bootstrap(lambda index: metrics.area(labels[index], scores[index]), PATIENTS),
        lambda: _scipy_bootstrap(labels, scores),
        taken=False,
        why="cannot leave out draws where a figure is undefined (one class alone): its interval is then NaN",
        difference=lambda one, other: abs(one["low"] - other.low),
        unit="lower bound of the AUC",
    )


def _scipy_bootstrap(labels: np.ndarray, scores: np.ndarray):
    def area(index: np.ndarray) -> float:
        return metrics.area(labels[index], scores[index])

    everyone = (np.arange(len(labels)),)
    random = np.random.default_rng(0)
    found = stats.bootstrap(everyone, area, n_resamples=2000, vectorized=False, method="percentile", rng=random)
    return found.confidence_interval


def _masks() -> tuple[np.ndarray, np.ndarray]:
    """Clots of a few mm and their prediction, a little beside them."""
    random = np.random.default_rng(0)
    prediction, reference = np.zeros((2, *GRID), bool)
    for corner in random.integers(20, np.array(GRID) - 40, (CLOTS, 3)):
        for mask, shift in ((reference, 0), (prediction, random.integers(-3, 4, 3))):
            mask[tuple(slice(c, c + 8) for c in corner + shift)] = True
    return prediction, reference


def _largest(one, other) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).max())
