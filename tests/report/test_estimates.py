"""Numbers as text: known answers."""

import pandas as pd
import pytest

from cpmn.report.estimates import (
    difference_text,
    estimate_text,
    headline,
    metric_label,
    metric_table,
    score_text,
    threshold_text,
)


@pytest.mark.parametrize(
    ("estimate", "name", "text"),
    [
        ({"value": 0.954, "low": 0.9, "high": 0.98, "n": 334}, "patient.auc", "0.954 (0.900 to 0.980, n = 334)"),
        ({"value": 0.954, "low": 0.9, "high": 0.98, "n": 8}, "patient.auc", "0.95 (0.90 to 0.98, n = 8)"),
        ({"value": 2 / 3, "low": 0.2, "high": 0.9, "n": 3}, "patient.sensitivity", "0.67 (0.20 to 0.90, 2/3)"),
        ({"value": 0.5, "low": None, "high": None, "n": 4}, "patient.ppv", "0.50 (2/4)"),
        # of a lesion figure n need not be what the share was taken of
        ({"value": 0.5, "low": 0.1, "high": 0.9, "n": 4}, "lesion.sensitivity", "0.50 (0.10 to 0.90, n = 4)"),
        ({"value": -12.34, "low": -20.0, "high": 3.0, "n": 5}, "voxel.x_ml", "−12.3 (−20.0 to 3.00, n = 5)"),
        ({"value": None, "low": None, "high": None, "n": 0}, "voxel.dice", "not defined (n = 0)"),
        ({"value": float("nan"), "n": 2}, "voxel.dice", "not defined (n = 2)"),
        (None, "voxel.dice", "not defined"),
    ],
)
def test_estimate_text(estimate, name, text):
    assert estimate_text(estimate, name) == text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"difference": "0.1", "difference_low": "-0.2", "difference_high": "0.3", "p": "0.42"},
            "+0.10 (−0.20 to 0.30), p = 0.42",
        ),
        ({"difference": "-0.1", "difference_low": "", "difference_high": "", "p": "0.0001"}, "−0.10, p < 0.001"),
        ({"difference": "0", "p": ""}, "+0.00"),
        # the digits of the estimates beside it
        (
            {"difference": -0.0284, "difference_low": -0.0552, "difference_high": -0.0031, "p": 0.01, "n": 300},
            "−0.028 (−0.055 to −0.003), p = 0.01",
        ),
        # as many as it takes for an end to be no zero
        (
            {"difference": -0.004, "difference_low": -0.0071, "difference_high": -0.0009, "p": 0.01, "n": 40},
            "−0.004 (−0.007 to −0.001), p = 0.01",
        ),
        ({"difference": 0.1, "difference_low": 0.0, "difference_high": 0.2, "n": 40}, "+0.10 (0.00 to 0.20)"),
        ({"difference": 0.1, "difference_low": 1e-9, "difference_high": 0.2, "n": 40}, "+0.10 (0.00 to 0.20)"),
        ({"difference": ""}, ""),
        (None, ""),
    ],
)
def test_difference_text(row, text):
    assert difference_text(row) == text


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("patient.auc", "AUC"),
        ("voxel.assd_mm", "Average symmetric surface distance (mm), of PE patients with a mark"),
        ("voxel.false_positive_volume_ml", "False positive volume (mL)"),
        ("lesion.froc.sensitivity_at_0_5", "FROC, sensitivity at 0.5"),
        ("lesion.marks_within_2_mm.sensitivity", "Marks within 2 mm, sensitivity"),
    ],
)
def test_metric_label(name, label):
    assert metric_label(name) == label


def test_metric_table_lines_up_variants_and_pairs():
    full = {"value": 0.5, "low": 0.1, "high": 0.9, "n": 4}
    metrics = {
        "a": {"reference": "x", "references": {"x": 4}, "patient": {"auc": full}, "threshold": {"value": 1.0}},
        "b": {"patient": {"auc": full, "npv": None}, "lesion": {"froc": {"sensitivity_at_1": full}}},
    }
    comparison = [
        {"variant": "a", "versus": "b", "metric": "patient.auc", "difference": 0.25},
        {"variant": "b", "versus": None, "metric": "patient.auc", "difference": None},
    ]
    table = metric_table(metrics, pd.DataFrame(comparison))
    assert table.pairs == [("a", "b")]
    assert [name for name, _ in table.groups] == ["Patient level", "Lesion level"]
    auc, npv = table.groups[0][1]
    assert auc.differences == ["+0.25"]
    assert npv.cells == ["–", "not defined"]
    assert npv.differences == [""]
    assert table.groups[1][1][0].label == "FROC, sensitivity at 1"


def test_artery_vein_control_stands_in_a_group_of_its_own():
    figures = {"value": 0.75, "low": 0.5, "high": 0.9, "n": 20}
    metrics = {"patient": {"auc": figures}, "artery_vein": {"auc_of_ratio": figures, "auc_of_score": figures}}
    groups = dict(metric_table({"cpmn": metrics}, pd.DataFrame()).groups)
    assert [metric.label for metric in groups["Artery/vein control"]] == [
        "AUC of the artery/vein ratio of the marks",
        "AUC of the score, same patients",
    ]


def test_a_score_that_is_no_probability_says_so():
    assert score_text({"score": {"rule": "mean", "probability": False}}).startswith("The score is no probability")
    assert score_text({"score": {"rule": "logistic", "probability": True}}).endswith("fitted on: logistic.")
    assert score_text({}) == ""
    groups = metric_table({"cpmn": {"score": {"rule": "mean", "probability": True}}}, pd.DataFrame()).groups
    assert not groups


def test_threshold_says_where_it_comes_from():
    threshold = {"value": 0.25, "rule": "some rule", "fitted_on": "validation", "n_pe": 3, "n_normal": 5}
    text = threshold_text({"threshold": threshold})
    assert text == "Threshold 0.25: some rule. Fitted on validation (3 with PE, 5 without)."
    assert threshold_text({"threshold": {"value": None, "rule": "none"}}) == "Threshold not defined (none)."
    assert threshold_text({}) == "Threshold not defined."


def test_headline_marks_what_is_undefined():
    items = headline("a", {"patient": {"auc": {"value": 0.5, "n": 4}}})["estimates"]
    assert [item["undefined"] for item in items] == [False, True, True, True]


def test_figures_of_validation_patients_are_not_among_those_of_test_patients():
    metrics = {"ctpa": {"split": "validation", "dice": 0.6, "auc": None, "found": 0.5}}
    assert not metric_table({"cpmn": metrics}, pd.DataFrame()).groups


def test_what_is_not_quite_all_is_not_shown_as_all():
    assert estimate_text({"value": 0.9975, "low": 0.89, "high": 1.0, "n": 40}) == "0.998 (0.89 to 1.00, n = 40)"
    assert estimate_text({"value": 1.0, "n": 40}) == "1.00 (n = 40)"


def test_a_small_threshold_is_not_zero():
    text = threshold_text({"threshold": {"value": 0.00033, "rule": "r", "n_pe": 3, "n_normal": 5}})
    assert text.startswith("Threshold 0.00033: r.")
