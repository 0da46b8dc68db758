"""The decision: what it is fitted on, and that it is reproduced from its file."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cpmn.config.evaluate import EvaluateConfig
from cpmn.scoring.decision import (
    Combination,
    Decision,
    Unseen,
    combine,
    fit_decision,
    is_positive,
    lowest_threshold,
    patient_features,
    patient_score,
)


def settings(**values):
    return EvaluateConfig.model_validate(values)


def out_of_fold(fold, label, classification, lesion, name="p"):
    return Unseen(name, label, {fold: {"classification": classification, "lesion": lesion}})


def test_features_of_a_known_map():
    """Two voxels of 0.6 and 0.8 above 0.5, 0.1 mL each: evidence 0.14 mL."""
    features = patient_features(0.75, np.array([[[0.6, 0.8, 0.4]]]), 0.1, 0.5)
    assert features == pytest.approx({"classification": math.log(3), "lesion": math.log(0.15)})


def test_extreme_features_do_not_overflow():
    weights = {"classification": 1.0, "lesion": 1.0}
    fitted = Combination(rule="", logistic=True, weights=weights, intercept=-2000.0, n_pe=1, n_normal=1)
    assert combine({"classification": 0.0, "lesion": 0.0}, fitted) == 0.0
    assert combine({"classification": 4000.0, "lesion": 0.0}, fitted) == 1.0


def test_saturated_output_stays_finite():
    assert all(math.isfinite(v) for v in patient_features(1.0, np.zeros((1, 1, 1)), 1.0, 0.5).values())
    assert all(math.isfinite(v) for v in patient_features(0.0, np.ones((1, 1, 1)), 1.0, 0.5).values())


@pytest.mark.parametrize(
    ("normal", "pe", "target", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], [6.0, 8.0], 0.95, 5.0),  # all four below; halfway to the next score
        ([1.0, 2.0, 3.0, 4.0], [3.5, 8.0], 0.75, 3.25),  # three of four below
        ([1.0, 2.0], [0.0], 0.95, 2.0 + 1e-6),  # nothing lies higher
        ([2.0, 2.0, 2.0], [2.0], 0.5, 2.0 + 1e-6),  # ties are not split
        ([1.0], [2.0], 0.95, 1.5),
        ([], [2.0], 0.95, None),
    ],
)
def test_lowest_threshold_of_known_scores(normal, pe, target, expected):
    assert lowest_threshold(normal, pe, target) == expected


@given(
    st.lists(st.floats(-9, 9), min_size=1, max_size=30), st.lists(st.floats(-9, 9), max_size=30), st.floats(0.05, 0.99)
)
def test_threshold_reaches_the_target_and_no_lower_decision_does(normal, pe, target):
    threshold = lowest_threshold(normal, pe, target)
    below = sum(score < threshold for score in normal)
    assert below / len(normal) >= target - 1e-9
    lower = max(score for score in normal if score < threshold)
    assert sum(score < lower for score in normal) / len(normal) < target


def test_folds_on_different_scales_become_comparable():
    """Fold 1 reports everything shifted by 5: its patients must get the scores of fold 0's."""
    normals = [(-1.0, -4.0), (0.0, -3.0), (1.0, -2.0)]
    patients = [out_of_fold(0, 0, c, v) for c, v in normals] + [out_of_fold(1, 0, c + 5, v + 5) for c, v in normals]
    decision = fit_decision(patients, "cpmn", 2, settings())
    first = patient_score({0: {"classification": 2.0, "lesion": 1.0}}, decision)
    second = patient_score({1: {"classification": 7.0, "lesion": 6.0}}, decision)
    both = {0: {"classification": 2.0, "lesion": 1.0}, 1: {"classification": 7.0, "lesion": 6.0}}
    assert first == pytest.approx(second)
    assert patient_score(both, decision) == pytest.approx(first)


def test_standard_deviation_is_shrunk_to_one_log_unit():
    """Normals at -1, 0, 1: squares 2, shrunk variance (2 + 3) / (2 + 3) = 1, score (2/1 + 4/1) / 2."""
    patients = [out_of_fold(0, 0, value, value) for value in (-1.0, 0.0, 1.0)]
    decision = fit_decision(patients, "cpmn", 1, settings())
    assert patient_score({0: {"classification": 2.0, "lesion": 4.0}}, decision) == pytest.approx(3.0)
    one = fit_decision([out_of_fold(0, 0, 0.5, 0.5)], "cpmn", 1, settings())
    assert one.folds[0]["lesion"].sd == 1.0


def test_pe_patients_do_not_move_the_standard():
    normals = [out_of_fold(0, 0, value, value) for value in (-1.0, 0.5, 1.0)]
    with_pe = [*normals, out_of_fold(0, 1, 9.0, 9.0)]
    assert fit_decision(normals, "v", 1, settings()).folds == fit_decision(with_pe, "v", 1, settings()).folds


def many(generator, shift_classification=2.0, shift_lesion=2.0, n=30):
    labels = [0] * n + [1] * n
    return [
        out_of_fold(i % 2, y, y * shift_classification + generator.normal(), y * shift_lesion + generator.normal())
        for i, y in enumerate(labels)
    ]


def test_enough_patients_give_a_fitted_probability_and_few_the_mean():
    patients = many(np.random.default_rng(0))
    fitted = fit_decision(patients, "cpmn", 2, settings())
    assert fitted.combination.logistic
    assert 0 < patient_score(patients[0].features, fitted) < 1
    assert (fitted.combination.n_pe, fitted.combination.n_normal) == (30, 30)
    few = fit_decision(patients[:32], "cpmn", 2, settings())
    assert not few.combination.logistic
    assert "fewer than 10" in few.combination.rule


def test_logistic_fit_reproduces_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    patients = many(np.random.default_rng(2))
    decision = fit_decision(patients, "cpmn", 2, settings())
    table = np.array(
        [
            [
                (v - decision.folds[k][f].mean) / decision.folds[k][f].sd
                for k, own in p.features.items()
                for f, v in own.items()
            ]
            for p in patients
        ]
    )
    expected = LogisticRegression(C=1.0).fit(table, [p.label for p in patients]).predict_proba(table)[:, 1]
    assert [patient_score(p.features, decision) for p in patients] == pytest.approx(expected)


def test_feature_with_a_negative_weight_is_left_out():
    patients = many(np.random.default_rng(0), shift_lesion=-2.0)
    combination = fit_decision(patients, "cpmn", 2, settings()).combination
    assert combination.logistic
    assert combination.weights["lesion"] == 0
    assert combination.weights["classification"] > 0
    assert "without lesion" in combination.rule


def test_without_any_feature_that_speaks_for_pe_the_mean_is_taken():
    patients = [replace(p, label=1 - p.label) for p in many(np.random.default_rng(0))]
    combination = fit_decision(patients, "cpmn", 2, settings()).combination
    assert not combination.logistic
    assert "none of them would count for PE" in combination.rule


def test_specificity_target_is_reached_on_the_normals_it_was_fitted_on():
    patients = many(np.random.default_rng(4), n=40)
    decision = fit_decision(patients, "cpmn", 2, settings(target_specificity=0.9))
    normal = [patient_score(p.features, decision) for p in patients if p.label == 0]
    assert sum(is_positive(score, decision) is True for score in normal) == 4
    assert (decision.threshold.n_pe, decision.threshold.n_normal) == (40, 40)


def test_without_validation_normals_there_is_no_threshold():
    decision = fit_decision([out_of_fold(0, 1, 1.0, 1.0)], "cpmn", 1, settings())
    assert decision.threshold.value is None
    assert "none" in decision.threshold.rule
    assert is_positive(3.0, decision) is None


def test_fold_without_normals_borrows_the_others():
    patients = [out_of_fold(0, 0, 4.0, 4.0), out_of_fold(0, 0, 6.0, 6.0), out_of_fold(1, 1, 9.0, 9.0)]
    decision = fit_decision(patients, "cpmn", 2, settings())
    assert decision.folds[1]["lesion"].mean == 5.0
    assert decision.folds[1]["lesion"].n_normal == 0


def test_decision_survives_its_file_exactly():
    patients = many(np.random.default_rng(6))
    decision = fit_decision(patients, "cpmn", 2, settings())
    again = Decision.model_validate(json.loads(json.dumps(decision.model_dump(mode="json"))))
    assert again == decision
    features = {**patients[3].features, **patients[4].features}
    assert patient_score(features, again) == patient_score(features, decision)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("threshold", "value"), math.nan),
        (("threshold", "value"), math.inf),
        (("threshold", "value"), 1.5),  # the score is a probability here
        (("segmentation_threshold",), -1),
        (("segmentation_threshold",), 0),
        (("segmentation_threshold",), math.nan),
        (("overlap",), math.inf),
        (("overlap",), 0.9999),
        (("minimum_lesion_mm3",), math.nan),
        (("highest_hu",), math.nan),
        (("seal",), {"sha256": "none", "parts": {}}),
        (("combination", "intercept"), math.inf),
        (("combination", "weights", "lesion"), math.nan),
        (("combination", "weights", "lesion"), -1.0),
        (("combination", "weights"), {"lesion": 1.0}),
        (("combination", "weights"), {"lesion": 0.0, "classification": 0.0}),
        (("folds",), {}),
        (("folds", "1", "lesion", "mean"), math.nan),
        (("folds", "1", "lesion", "sd"), 0.0),
        (("folds", "1", "lesion", "sd"), 1e-300),
        (("folds", "1"), {}),
        (("crop", "spacing_mm"), 1e-9),
        (("crop", "margin_mm"), 1e308),
        (("convert", "maximum_unzipped_gb"), math.inf),
    ],
)
def test_a_decision_out_of_bounds_is_refused(place, value):
    """Damaged or made up: NaN would call everyone healthy, a threshold of -1 would mark the whole chest."""
    record = fit_decision(many(np.random.default_rng(6)), "cpmn", 2, settings()).model_dump(mode="json")
    record["folds"] = {str(fold): standards for fold, standards in record["folds"].items()}
    Decision.model_validate(record)
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValidationError):
        Decision.model_validate(record)


def test_features_that_tell_nothing_do_not_make_a_constant_score():
    """Nobody is marked, and the class logit runs against PE: the score must still differ from patient to patient."""
    patients = [out_of_fold(0, 1, -1.0 - 0.01 * n, -4.6) for n in range(20)]
    patients += [out_of_fold(0, 0, 1.0 + 0.01 * n, -4.6) for n in range(20)]
    decision = fit_decision(patients, "cpmn", 1, settings(minimum_fit_patients=10))
    assert decision.combination.rule == (
        "mean of the standardised features (in the logistic fit none of them would count for PE)"
    )
    assert not decision.combination.logistic
    assert len({patient_score(p.features, decision) for p in patients}) == len(patients)


def test_calibration_patients_are_read_by_every_fold_and_named_in_the_rules():
    """Fold 1 reports everything shifted by 5: each fold is standardised on its own reading of the same normals."""
    random = np.random.default_rng(4)
    patients = []
    for n in range(40):
        label, noise = n % 2, float(random.normal())
        own = {"classification": noise + 2 * label, "lesion": noise + label}
        patients.append(Unseen(f"c{n}", label, {0: own, 1: {name: value + 5 for name, value in own.items()}}))
    decision = fit_decision(patients, "cpmn", 2, settings(minimum_fit_patients=10), part="calibration")
    normals = [p.features[1]["lesion"] for p in patients if not p.label]
    assert decision.folds[1]["lesion"].mean == pytest.approx(np.mean(normals))
    assert decision.folds[1]["lesion"].n_normal == 20
    assert patient_score(patients[1].features, decision) == pytest.approx(
        patient_score({0: patients[1].features[0]}, decision)
    )
    assert decision.threshold.fitted_on == "calibration patients"
    assert decision.threshold.rule.startswith("lowest score with specificity >= 0.95 on calibration normals")
    assert "features of calibration patients" in decision.combination.rule
    assert (decision.threshold.n_pe, decision.threshold.n_normal) == (20, 20)
