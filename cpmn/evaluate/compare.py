"""All variants' figures in one long table, each against the baseline on the same test patients."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cpmn.config.evaluate import EvaluateConfig
from cpmn.evaluate.tables import COMPARISON_COLUMNS
from cpmn.files import read_json, read_test_rows, write_json, write_table
from cpmn.scoring.comparison import COMPARED, baseline_of, difference, estimates, paired_rows

SUMMARY = ("patient.auc", "patient.sensitivity", "patient.specificity", "voxel.dice", "lesion.recall")


def compare_variants(
    *, variants: Mapping[str, Mapping[str, Any]], cohort: str, evaluate: Path, output: Path, config: EvaluateConfig
) -> None:
    """Write `comparison.csv`: every figure of every variant, and its difference from the baseline.

    Parameters
    ----------
    variants : by name, each with `base` and `seed`; the first with base `nct_only` is the baseline.
    cohort : name of the cohort, for the table.
    evaluate : folder with `{variant}/metrics.json` and `{variant}/patients.csv`.

    Differences are variant minus baseline, paired by test patient, with an interval as in `metrics.bootstrap`. p is
    McNemar's exact test for sensitivity, specificity and accuracy, DeLong's for AUC, else that of
    `metrics.paired_difference`; it is not corrected for the number of comparisons.
    """
    baseline = baseline_of(variants)
    tables = {name: read_test_rows(evaluate / name / "patients.csv") for name in variants}
    rows = []
    for name, facts in variants.items():
        common = {"variant": name, "base": facts.get("base"), "seed": facts.get("seed"), "cohort": cohort}
        pair = None if baseline in (None, name) else paired_rows(tables[name], tables[baseline])
        for metric, figure in estimates(read_json(evaluate / name / "metrics.json")):
            row = common | {"metric": metric} | figure
            if pair is not None and metric in COMPARED:
                figure, p = difference(metric, pair, config)
                names = {"difference": "value", "difference_low": "low", "difference_high": "high"}
                row |= {"versus": baseline, "p": p} | {name: figure[key] for name, key in names.items()}
            rows.append(row)
    write_table(output, COMPARISON_COLUMNS, rows)


def summarise_variants(variants: Iterable[str], evaluate: Path, output: Path) -> None:
    """Write `summary.json`: the figures of `SUMMARY` by variant, for `dvc metrics` and `dvc exp show`.

    The whole `metrics.json` would be sixty columns wide there. Values alone: intervals stand in the other files.
    """
    rows = {name: dict(estimates(read_json(evaluate / name / "metrics.json"))) for name in variants}
    values = {
        name: {metric.split(".")[1]: figures[metric]["value"] for metric in SUMMARY} for name, figures in rows.items()
    }
    write_json(output, values)
