"""The long comparison table, from patients.csv files written here."""

import csv
import json
import math

import pandas as pd
import pytest

from cpmn.config.evaluate import EvaluateConfig
from cpmn.evaluate.compare import compare_variants, summarise_variants
from cpmn.scoring.comparison import paired_rows

CONTRACT = "variant,base,seed,cohort,metric,value,low,high,n,versus,difference,difference_low,difference_high,p"
VARIANTS = {"cpmn": {"base": "cpmn", "seed": 0}, "plain": {"base": "nct_only", "seed": 0}}


def compared(tree, variants=VARIANTS):
    output = tree.results / "evaluate/comparison.csv"
    config = EvaluateConfig.model_validate({"bootstrap_samples": 200})
    compare_variants(
        variants=variants, cohort="phantom", evaluate=tree.results / "evaluate", output=output, config=config
    )
    with output.open(newline="") as stream:
        return list(csv.DictReader(stream)), output.read_text()


@pytest.fixture
def both(tree):
    """`cpmn` finds t1 and misses t2; `plain` is the same network on scans where t1 is dark too."""
    tree.evaluate("cpmn")
    tree.patients = [patient for patient in tree.patients if patient.patient_id != "t1"]
    tree.add("t1", 1, marked_hu=10, truth=tree.clot(5))
    tree.evaluate("plain")
    return tree


def row(rows, variant, metric):
    return next(item for item in rows if item["variant"] == variant and item["metric"] == metric)


def test_columns_keep_the_contract_and_the_baseline_stands_alone(both):
    rows, text = compared(both)
    assert text.splitlines()[0] == CONTRACT
    assert {item["versus"] for item in rows if item["variant"] == "plain"} == {""}
    assert {item["cohort"] for item in rows} == {"phantom"}
    assert "nan" not in text.lower()


def test_differences_of_known_patients(both):
    """Sensitivity 1/2 against 0/2, Dice (1 + 0) / 2 against 0; the normals are the same."""
    rows, _ = compared(both)
    sensitivity = row(rows, "cpmn", "patient.sensitivity")
    assert (sensitivity["value"], sensitivity["versus"], sensitivity["difference"]) == ("0.5", "plain", "0.5")
    assert float(sensitivity["p"]) == 1.0  # one discordant patient: McNemar's exact p
    assert float(row(rows, "cpmn", "voxel.dice")["difference"]) == 0.5
    assert float(row(rows, "cpmn", "patient.specificity")["difference"]) == 0.0
    assert row(rows, "cpmn", "patient.specificity")["p"] == ""
    assert float(row(rows, "cpmn", "lesion.recall")["difference"]) == 0.5


def test_every_estimate_of_every_variant_has_a_row(both):
    rows, _ = compared(both)
    metrics = {item["metric"] for item in rows if item["variant"] == "cpmn"}
    assert {
        "patient.auc",
        "voxel.dice",
        "lesion.froc.sensitivity_at_1",
        "lesion.marks_within_5_mm.sensitivity",
    } <= metrics
    assert metrics == {item["metric"] for item in rows if item["variant"] == "plain"}
    assert not any(name.startswith("threshold") for name in metrics)


def test_without_a_baseline_nothing_is_compared(both):
    rows, _ = compared(both, {"cpmn": {"base": "cpmn", "seed": 3}})
    assert {item["versus"] for item in rows} == {""}
    assert {item["seed"] for item in rows} == {"3"}


def test_only_patients_that_both_scored_are_paired():
    first = pd.DataFrame({"score": [1, math.nan, 2]}, index=pd.Index(["a", "b", "c"]))
    second = pd.DataFrame({"score": [3, 4, 5]}, index=pd.Index(["c", "a", "b"]))
    assert [table["score"].to_dict() for table in paired_rows(first, second)] == [{"a": 1, "c": 2}, {"a": 4, "c": 3}]


def test_summary_holds_the_figures_of_metrics_json(both, tmp_path):
    summarise_variants(VARIANTS, both.results / "evaluate", tmp_path / "summary.json")
    summary = json.loads((tmp_path / "summary.json").read_text())
    rows, _ = compared(both)
    assert set(summary) == set(VARIANTS)
    assert set(summary["cpmn"]) == {"auc", "sensitivity", "specificity", "dice", "recall"}
    assert summary["cpmn"]["dice"] == float(row(rows, "cpmn", "voxel.dice")["value"]) == 0.5
    assert summary["plain"]["sensitivity"] == 0.0
