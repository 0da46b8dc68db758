"""Differences of two systems on the same patients."""

import pandas as pd
import pytest

from cpmn.config.evaluate import EvaluateConfig
from cpmn.scoring.comparison import difference, paired_rows

CONFIG = EvaluateConfig(bootstrap_samples=100)


def table(decisions: list[int], ml: list[float]) -> pd.DataFrame:
    """Patients without PE, with a decision and false mL each."""
    names = pd.Index([f"p{number}" for number in range(len(decisions))], name="patient_id")
    values = {"label": 0, "decision": decisions, "score": 0.5, "predicted_ml": ml, "reference_ml": 0.0}
    return pd.DataFrame(values, index=names)


def test_two_shares_differ_by_at_most_one():
    """Of two patients one decision differs: by Student's t the interval would go from -6.9 to 5.9."""
    pair = paired_rows(table([1, 0], [0.0, 0.0]), table([0, 0], [0.0, 0.0]))
    figure, p = difference("patient.specificity", pair, CONFIG)
    assert figure == {"value": -0.5, "low": -1.0, "high": 1.0, "n": 2}
    assert p == 1.0


def test_volumes_may_differ_by_more():
    pair = paired_rows(table([0] * 3, [9.0, 12.0, 10.0]), table([0] * 3, [1.0, 2.0, 1.0]))
    figure, _ = difference("voxel.false_positive_volume_ml", pair, CONFIG)
    assert figure["value"] == pytest.approx(9.0)
    assert figure["low"] is not None
    assert figure["high"] is not None
    assert 1.0 < figure["low"] < 9.0 < figure["high"]


def test_without_a_patient_nothing_is_known():
    empty = table([], [])
    figure, _ = difference("patient.specificity", paired_rows(empty, empty), CONFIG)
    assert (figure["value"], figure["low"], figure["high"], figure["n"]) == (None, None, None, 0)


def test_normals_do_not_make_a_difference_of_clots_found_surer():
    columns = {"score": 0.5, "lesions": [5, 5, 5] + [0] * 20}
    names = pd.Index([f"p{number}" for number in range(23)], name="patient_id")
    first = pd.DataFrame(columns | {"label": [1] * 3 + [0] * 20, "lesions_found": [3, 3, 4] + [0] * 20}, index=names)
    second = first.assign(lesions_found=[2, 2, 2] + [0] * 20)
    whole = difference("lesion.recall", paired_rows(first, second), CONFIG)
    assert whole == difference("lesion.recall", paired_rows(first.iloc[:3], second.iloc[:3]), CONFIG)
    assert whole[1] == pytest.approx(0.0572, abs=1e-3)
