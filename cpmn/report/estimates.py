"""Numbers with their intervals, as a reader sees them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpmn.report.collect import number

UNDEFINED = "not defined"
BLOCKS = {
    "patient": "Patient level",
    "voxel": "Voxel level",
    "lesion": "Lesion level",
    "artery_vein": "Artery/vein control",
}
NOT_METRICS = {"threshold", "score", "reference", "references", "variant", "ctpa"}  # ctpa: of validation patients
HEADLINES = ("patient.auc", "patient.sensitivity", "patient.specificity", "voxel.dice")
COUNTED = {"sensitivity", "specificity", "ppv", "npv", "accuracy"}
LABELS = {
    "auc": "AUC",
    "auc_of_ratio": "AUC of the artery/vein ratio of the marks",
    "auc_of_score": "AUC of the score, same patients",
    "average_precision": "Average precision",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "ece": "Expected calibration error",
    "brier": "Brier score",
    "dice": "Dice, mean over PE patients",
    "dice_pooled": "Dice, pooled voxels",
    "nsd": "Normalised surface Dice",
    "assd_mm": "Average symmetric surface distance (mm), of PE patients with a mark",
    "hd95_mm": "95 % Hausdorff distance (mm), of PE patients with a mark",
    "froc": "FROC",
    "recall": "Recall, any overlap",
    "recall_10pct": "Recall, 10 % overlap",
    "recall_20pct": "Recall, 20 % overlap",
    "precision": "Precision, any overlap",
    "precision_10pct": "Precision, 10 % overlap",
    "precision_20pct": "Precision, 20 % overlap",
    "f1": "F1, any overlap",
    "f1_10pct": "F1, 10 % overlap",
    "f1_20pct": "F1, 20 % overlap",
    "false_positives_per_scan": "False positives per scan",
    "false_positives_per_patient": "False positives per patient",
}
MOST_DIGITS = 5  # our choice: what looks like zero even so may be rounding
UNITS = {"ml": "mL", "mm": "mm", "mm3": "mm³", "hu": "HU"}


@dataclass(frozen=True)
class Metric:
    """One line of the metric table: `cells` holds a text per variant, `differences` one per compared pair."""

    name: str
    label: str
    cells: list[str]
    differences: list[str]


@dataclass(frozen=True)
class MetricTable:
    """Metrics of the variants side by side; `pairs` names the compared (variant, versus)."""

    variants: list[str]
    pairs: list[tuple[str, str]]
    groups: list[tuple[str, list[Metric]]]


def estimate_text(estimate: Any, name: str = "") -> str:
    """Text of `{value, low, high, n}`: value, interval, and the count behind it; `null` is said, never hidden."""
    return " ".join(part for part in estimate_parts(estimate, name) if part)


def estimate_parts(estimate: Any, name: str = "") -> tuple[str, str]:
    """The value, and what stands behind it: interval and count."""
    fields = estimate if isinstance(estimate, dict) else {"value": estimate}
    value, count = number(fields.get("value")), number(fields.get("n"))
    patients = "" if count is None else f"n = {count:.0f}"
    if value is None:
        return UNDEFINED, f"({patients})" if patients else ""
    digits = _digits_of(count)
    if name.startswith("patient.") and name.split(".")[-1] in COUNTED and count:
        patients = f"{value * count:.0f}/{count:.0f}"
    low, high = number(fields.get("low")), number(fields.get("high"))
    interval = "" if low is None or high is None else f"{_digits(low, digits)} to {_digits(high, digits)}"
    behind = ", ".join(part for part in (interval, patients) if part)
    return _digits(value, digits), f"({behind})" if behind else ""


def difference_text(row: Mapping[Any, Any] | None) -> str:
    """Text of a line of comparison.csv: the paired difference, its interval and p.

    It has the digits of the estimates beside it, or so many more that no end of the interval looks like zero.
    """
    value = None if row is None else number(row.get("difference"))
    if row is None or value is None:
        return ""
    low, high, p, count = (number(row.get(key)) for key in ("difference_low", "difference_high", "p", "n"))
    fewest, ends = _digits_of(count), [end for end in (low, high) if end]
    telling = (digits for digits in range(fewest, MOST_DIGITS + 1) if all(round(end, digits) for end in ends))
    digits = next(telling, fewest)
    text = ("+" if value >= 0 else "") + _digits(value, digits)
    if low is not None and high is not None:
        text += f" ({_digits(low, digits)} to {_digits(high, digits)})"
    if p is not None:
        text += ", p < 0.001" if p < 0.001 else f", p = {p:.2g}"
    return text


def metric_table(metrics: dict[str, dict[str, Any]], comparison: pd.DataFrame) -> MetricTable:
    """All estimates in the variants' metrics.json, side by side, in the order of the first variant that has them."""
    names: dict[str, dict[str, None]] = {}
    found = {variant: dict(_estimates(values)) for variant, values in metrics.items()}
    for values in found.values():
        for name in values:
            names.setdefault(name.split(".")[0], {})[name] = None
    pairs = _pairs(metrics, comparison)
    groups = [
        (BLOCKS.get(block, _readable(block)), [_metric(name, found, pairs, comparison) for name in block_names])
        for block, block_names in names.items()
    ]
    return MetricTable(list(metrics), pairs, groups)


def headline(variant: str, metrics: dict[str, Any]) -> dict[str, Any]:
    """The few figures that a reader looks for first, with intervals, and where the threshold comes from."""
    items = []
    for name in HEADLINES:
        block, key = name.split(".")
        value, behind = estimate_parts((metrics.get(block) or {}).get(key), name)
        items.append({"label": metric_label(name), "value": value, "behind": behind, "undefined": value == UNDEFINED})
    return {"variant": variant, "estimates": items, "threshold": threshold_text(metrics)}


def threshold_text(metrics: dict[str, Any]) -> str:
    """Where the decision threshold comes from, as a sentence."""
    threshold = metrics.get("threshold")
    if not isinstance(threshold, dict):
        return f"Threshold {UNDEFINED}."
    value = number(threshold.get("value"))
    rule = threshold.get("rule") or "rule not stated"
    if value is None:
        return f"Threshold {UNDEFINED} ({rule})."
    fitted = threshold.get("fitted_on") or "patients not stated"
    counts = f"{threshold.get('n_pe', '?')} with PE, {threshold.get('n_normal', '?')} without"
    return f"Threshold {value:.3g}: {rule}. Fitted on {fitted} ({counts})."


def score_text(metrics: dict[str, Any]) -> str:
    """Whether the score is a probability, as a sentence; empty for runs of earlier versions, which do not say."""
    score = metrics.get("score")
    if not isinstance(score, dict):
        return ""
    rule = score.get("rule") or "rule not stated"
    if score.get("probability"):
        return f"The score is a probability of PE, at the share of PE among the patients it was fitted on: {rule}."
    return f"The score is no probability, so that there is none and no calibration: {rule}."


def _estimates(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if not prefix and (key in NOT_METRICS or not isinstance(value, dict)):
            continue
        if isinstance(value, dict) and "value" not in value:
            yield from _estimates(value, f"{name}.")
        elif value is None or isinstance(value, dict):
            yield name, value


def _metric(
    name: str, found: dict[str, dict[str, Any]], pairs: list[tuple[str, str]], comparison: pd.DataFrame
) -> Metric:
    cells = [estimate_text(values[name], name) if name in values else "–" for values in found.values()]
    differences = [difference_text(_compared(name, pair, comparison)) for pair in pairs]
    return Metric(name, metric_label(name), cells, differences)


def metric_label(name: str) -> str:
    """Label of `block.metric` or `block.group.metric`, from the known names or from the names themselves."""
    first, *rest = name.split(".")[1:] or [name]
    return ", ".join([LABELS.get(first) or _readable(first), *(LABELS.get(p) or _readable(p).lower() for p in rest)])


def _pairs(metrics: dict[str, Any], comparison: pd.DataFrame) -> list[tuple[str, str]]:
    if comparison.empty:
        return []
    compared = comparison.dropna(subset=["versus", "difference"])
    pairs = compared.loc[compared["variant"].isin(list(metrics)), ["variant", "versus"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))


def _compared(name: str, pair: tuple[str, str], comparison: pd.DataFrame) -> dict[Any, Any] | None:
    """The pair's line of a metric, which may be named with or without its block."""
    rows = comparison[(comparison["variant"] == pair[0]) & (comparison["versus"] == pair[1])].set_index("metric")
    known = next((one for one in (name, name.split(".", 1)[-1]) if one in rows.index), None)
    return None if known is None else rows.loc[[known]].iloc[0].to_dict()


def _digits_of(count: float | None) -> int:
    """Decimals of a figure: more than the count supports would pretend to precision."""
    return 3 if (count or 0) >= 100 else 2


def _digits(value: float, digits: int) -> str:
    while 0.9 < value < 1 and float(f"{value:.{digits}f}") == 1:  # nearly all is not all
        digits += 1
    text = f"{value:.{1 if abs(value) >= 10 else digits}f}"
    return text.replace("-", "−")


def _readable(name: str) -> str:
    """`marks_within_0_5_mm` as "Marks within 0.5 mm", `false_volume_ml` as "False volume (mL)"."""
    words = re.sub(r"(?<=\d)_(?=\d)", ".", name).replace("_", " ").split()
    if words and words[-1] in UNITS:
        unit = UNITS[words.pop()]
        words.append(unit if words and words[-1][:1].isdigit() else f"({unit})")
    text = " ".join(words)
    return text[:1].upper() + text[1:]
