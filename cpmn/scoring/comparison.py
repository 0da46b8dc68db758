"""Two systems' figures on the same patients: difference, interval and test."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cpmn.config.evaluate import EvaluateConfig
from cpmn.scoring import metrics

Pair = tuple[pd.DataFrame, pd.DataFrame]

BASELINE = "nct_only"


def baseline_of(variants: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The first variant whose base is `nct_only`, with which the others are compared; None if there is none."""
    return next((name for name, facts in variants.items() if facts.get("base", name) == BASELINE), None)


def estimates(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Dotted names and values of all `{value, low, high, n}` in a metrics.json."""
    for key, value in figures.items():
        if isinstance(value, Mapping) and {"value", "low", "high", "n"} <= value.keys():
            yield f"{prefix}{key}", dict(value)
        elif isinstance(value, Mapping):
            yield from estimates(value, f"{prefix}{key}.")


def paired_rows(first: pd.DataFrame, second: pd.DataFrame) -> Pair:
    """Rows, as `read_test_rows` gives them, of the patients that both variants scored, in the first's order."""
    first, second = (table.loc[table["score"].notna()] for table in (first, second))
    names = [name for name in first.index if name in second.index]
    return first.loc[names], second.loc[names]


def difference(metric: str, pair: Pair, config: EvaluateConfig) -> tuple[metrics.Estimate, float | None]:
    """Metric of the first variant minus that of the second, on the patients that count for it, and its p.

    `metric` is one of `COMPARED`; `pair` comes from `paired_rows`. Without a patient every figure is None. Two shares
    differ by at most 1, also where the interval of a few patients, by Student's t, would be wider.
    """
    tables, statistic, test = COMPARED[metric](pair)
    figure, p = metrics.paired_difference(
        lambda system, index: statistic(tables[system][index]),
        len(tables[0]),
        samples=config.bootstrap_samples,
        level=config.interval_level,
        seed=config.seed,
    )
    if metric not in VOLUMES:
        for key in ("low", "high"):
            figure[key] = None if (end := figure[key]) is None else min(max(end, -1.0), 1.0)
    return figure, test(tables) if test is not None else p


def _numbers(pair: Pair, columns: tuple[str, ...], label: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Values (patients, columns) of both systems, for the patients that have all of them in both."""
    first, second = (table[list(columns)].to_numpy(float) for table in pair)
    kept = ~np.isnan(first + second).any(axis=1)
    if label is not None:
        kept &= pair[0]["label"].to_numpy() == label
    return first[kept], second[kept]


def _mean(values: np.ndarray) -> float:
    return float(values[:, 0].mean()) if len(values) else math.nan


def _decisions(label: int | None) -> Callable:
    """Share of correct decisions among patients of one label, or all."""

    def prepare(pair: Pair):
        correct = [
            (table[:, :1] == table[:, 1:]).astype(float) for table in _numbers(pair, ("label", "decision"), label)
        ]
        return correct, _mean, lambda tables: metrics.mcnemar(tables[0][:, 0], tables[1][:, 0])

    return prepare


def _auc(pair: Pair):
    def delong(tables: tuple[np.ndarray, np.ndarray]) -> float | None:
        return metrics.delong_p(tables[0][:, 0], tables[0][:, 1], tables[1][:, 1])

    return _numbers(pair, ("label", "score")), lambda table: metrics.area(table[:, 0], table[:, 1]), delong


def _column(name: str, label: int) -> Callable:
    """Mean of a column over patients of one label that have a reference."""
    return lambda pair: (_numbers(pair, (name, "reference_ml"), label), _mean, None)


def _recall(pair: Pair):
    def share(table: np.ndarray) -> float:
        return float(table[:, 0].sum() / table[:, 1].sum()) if table[:, 1].sum() else math.nan

    return tuple(table[table[:, 1] > 0] for table in _numbers(pair, ("lesions_found", "lesions"))), share, None


COMPARED: dict[str, Callable] = {
    "patient.sensitivity": _decisions(1),
    "patient.specificity": _decisions(0),
    "patient.accuracy": _decisions(None),
    "patient.auc": _auc,
    "voxel.dice": _column("dice", 1),
    "voxel.false_positive_volume_ml": _column("predicted_ml", 0),
    "lesion.recall": _recall,
}
"""Per metric: both systems' values, the figure, and the test where it is not the bootstrap's."""
VOLUMES = {"voxel.false_positive_volume_ml"}
"""Those of `COMPARED` that are no shares."""
