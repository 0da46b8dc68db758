"""Figures against published values, hand-worked agreements and independent routes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cpmn.scoring import metrics


def parts(figure: metrics.Estimate) -> tuple[float, float, float]:
    """Value, low and high of a figure that has all three."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    assert value is not None
    assert low is not None
    assert high is not None
    return value, low, high


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_intervals(successes, total, low, high):
    """Newcombe, Stat Med 1998;17:857, table I, method 3."""
    figure = metrics.proportion(successes, total)
    assert [round(number, 4) for number in parts(figure)[1:]] == [low, high]
    assert figure["value"] == successes / total
    assert figure["n"] == total


def test_wilson_agrees_with_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    figure = metrics.proportion(7, 9, 0.9)
    assert (figure["low"], figure["high"]) == pytest.approx(proportion_confint(7, 9, 0.1, method="wilson"))


def test_nothing_counted_is_undefined_and_not_nan():
    assert metrics.proportion(0, 0) == {"value": None, "low": None, "high": None, "n": 0}
    assert metrics.auc([1, 1], [0.2, 0.4])["value"] is None
    assert metrics.mean([])["value"] is None
    assert metrics.ratio([0, 0], [0, 0]) == {"value": None, "low": None, "high": None, "n": 0}
    assert metrics.average_precision([0, 0], [0.1, 0.2])["value"] is None


def test_auc_and_delong_interval_of_a_hand_worked_case():
    """Positives .9 .8 .4, negatives .85 .7 .2, nine patients each: V10 and V01 are 1, 2/3 and 1/3, AUC = 2/3.

    Both variances are 18 (1/3)^2 / 26 = 1/13, so Var = 2 / (13 * 27).
    """
    figure = metrics.auc([1] * 27 + [0] * 27, np.repeat([0.9, 0.8, 0.4, 0.85, 0.7, 0.2], 9))
    half = 1.959964 * math.sqrt(2 / (13 * 27))
    assert parts(figure) == pytest.approx((2 / 3, 2 / 3 - half, 2 / 3 + half))
    assert figure["n"] == 54


def test_auc_counts_ties_half():
    assert metrics.auc([1, 0], [0.5, 0.5])["value"] == 0.5
    assert metrics.area(np.array([1, 0]), np.array([0.5, 0.5])) == 0.5


def test_delong_variance_is_the_two_sample_jackknife():
    """For a mean of pairwise kernels both are identical algebraically, by different code."""
    generator = np.random.default_rng(1)
    positive, negative = generator.normal(0.3, 1, 12), generator.normal(0, 1, 17)

    def area(p, q):
        return np.mean([(a > b) + 0.5 * (a == b) for a in p for b in q])

    def spread(values):
        n = len(values)
        return (n - 1) / n * np.sum((np.array(values) - np.mean(values)) ** 2)

    without_positive = [area(np.delete(positive, i), negative) for i in range(12)]
    without_negative = [area(positive, np.delete(negative, i)) for i in range(17)]
    half = 1.959964 * math.sqrt(spread(without_positive) + spread(without_negative))
    figure = metrics.auc([1] * 12 + [0] * 17, [*positive, *negative])
    assert figure["low"] == pytest.approx(area(positive, negative) - half, abs=1e-6)


def test_perfect_separation_does_not_claim_certainty():
    """Root of (1 - t)^2 = z^2 V(t) for 2 and 2 patients, found here by a plain scan."""
    figure = metrics.auc([1, 1, 0, 0], [3.0, 2.0, 1.0, 0.0])
    grid = np.linspace(0, 0.999, 100_000)
    variance = grid * (1 - grid) * (1 + ((1 - grid) / (2 - grid) + grid / (1 + grid))) / 4
    expected = grid[np.argmin(np.abs((1 - grid) ** 2 - 3.841459 * variance))]
    assert figure["value"] == 1.0
    assert figure["high"] == 1.0
    assert figure["low"] == pytest.approx(expected, abs=1e-4)
    assert parts(figure)[1] < 0.5


@pytest.mark.parametrize(("auc", "patients"), [(0.99, (65, 250)), (0.98, (30, 30)), (0.85, (8, 8))])
def test_interval_near_one_holds_the_truth_as_often_as_it_says(auc, patients):
    """Two normal distributions; DeLong's interval, cut at 1, holds it in 80 to 90 % of such studies."""
    generator = np.random.default_rng(0)
    distance = math.sqrt(2) * stats.norm.ppf(auc)
    labels, held = np.repeat([1, 0], patients), 0
    for _ in range(400):
        _, low, high = parts(metrics.auc(labels, generator.normal(labels * distance, 1)))
        held += low <= auc <= high
    assert held / 400 >= 0.92


def test_newcombe_interval_is_symmetric_under_reversal():
    low, high = metrics.newcombe_auc_interval(0.8, 20, 35)
    reversed_low, reversed_high = metrics.newcombe_auc_interval(0.2, 35, 20)
    assert (low, high) == pytest.approx((1 - reversed_high, 1 - reversed_low))
    assert 0 < low < 0.8 < high < 1


def test_newcombe_interval_has_hanley_and_mcneils_width():
    """Hanley and McNeil 1982: AUC 0.893 with 51 abnormal and 58 normal has SE 0.032; at such n the intervals agree."""
    low, high = metrics.newcombe_auc_interval(0.893, 51, 58)
    assert (high - low) / (2 * 1.959964) == pytest.approx(0.032, abs=0.002)


def test_average_precision_of_a_hand_worked_case():
    """Ranking + - + -: AP = (1 + 2/3) / 2."""
    assert metrics.average_precision([1, 0, 1, 0], [4, 3, 2, 1], samples=100)["value"] == pytest.approx(5 / 6)


def test_average_precision_agrees_with_scikit_learn_with_ties():
    from sklearn.metrics import average_precision_score

    generator = np.random.default_rng(9)
    labels, scores = generator.integers(0, 2, 80), generator.integers(0, 12, 80)
    expected = average_precision_score(labels, scores)
    assert metrics.average_precision(labels, scores, samples=100)["value"] == pytest.approx(expected)


def test_brier_and_calibration_error_of_a_hand_worked_case():
    labels, probabilities = [1, 0, 1, 0], [0.9, 0.95, 0.2, 0.25]
    assert metrics.brier(labels, probabilities)["value"] == pytest.approx((0.01 + 0.9025 + 0.64 + 0.0625) / 4)
    # bins [0.9, 1) and [0.2, 0.3): gaps |1 - 1.85| and |1 - 0.45|, over 4 patients
    assert metrics.expected_calibration_error(labels, probabilities)["value"] == pytest.approx((0.85 + 0.55) / 4)
    assert metrics.expected_calibration_error([1, 0], [1.0, 0.0]) == {"value": 0.0, "low": None, "high": None, "n": 2}


def test_calibration_line_recovers_a_known_distortion():
    """Outcomes drawn with logit 2 x + 0.5 for stated logit x: slope 2, intercept 0.5."""
    generator = np.random.default_rng(0)
    stated = generator.normal(0, 1, 4000)
    truth = (generator.random(4000) < 1 / (1 + np.exp(-(2 * stated + 0.5)))).astype(int)
    line = metrics.calibration_line(truth, 1 / (1 + np.exp(-stated)))
    assert line["calibration_slope"]["value"] == pytest.approx(2, abs=0.15)
    assert line["calibration_intercept"]["value"] == pytest.approx(0.5, abs=0.1)
    _, low, high = parts(line["calibration_slope"])
    assert low < 2 < high


def test_calibration_line_has_the_level_that_is_asked_for():
    """Wald: the widths of 90 and 95 % intervals are as 1.6449 to 1.9600."""
    generator = np.random.default_rng(0)
    stated = generator.normal(0, 1, 400)
    truth = (generator.random(400) < 1 / (1 + np.exp(-stated))).astype(int)
    widths = []
    for level in (0.90, 0.95):
        _, low, high = parts(metrics.calibration_line(truth, 1 / (1 + np.exp(-stated)), level)["calibration_slope"])
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(1.6449 / 1.9600, abs=1e-4)


def test_calibration_line_is_undefined_for_few_or_separated_patients():
    few = metrics.calibration_line([1, 0, 1], [0.6, 0.2, 0.4])
    separated = metrics.calibration_line([0] * 12 + [1] * 12, np.linspace(0.1, 0.9, 24))
    assert few["calibration_slope"] == {"value": None, "low": None, "high": None, "n": 3}
    assert separated["calibration_intercept"]["value"] is None


def test_bootstrap_interval_of_a_mean_matches_the_normal_one():
    values = np.random.default_rng(3).normal(5, 2, 400)
    figure = metrics.mean(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert figure["low"] == pytest.approx(values.mean() - half, abs=0.04)
    assert figure["high"] == pytest.approx(values.mean() + half, abs=0.04)


def test_bootstrap_repeats_with_its_seed_and_not_with_another():
    values = np.linspace(0, 1, 12) ** 2
    assert metrics.mean(values, seed=1) == metrics.mean(values, seed=1)
    assert metrics.mean(values, seed=1) != metrics.mean(values, seed=2)


def test_one_patient_has_a_value_and_no_interval():
    assert metrics.mean([0.4]) == {"value": 0.4, "low": None, "high": None, "n": 1}


def test_ratio_resamples_patients_and_counts_clots():
    """9 of 10 clots in one patient, 0 of 10 in the other: 20 clots are not 20 independent findings."""
    figure = metrics.ratio([9, 0] * 10, [10, 10] * 10)
    assert (figure["value"], figure["n"]) == (0.45, 200)
    independent = metrics.proportion(90, 200)
    assert parts(figure)[2] - parts(figure)[1] > 2 * (parts(independent)[2] - parts(independent)[1])


def test_few_patients_have_the_wide_interval_of_student_s_t():
    """Mean 0.5 of 0.4 and 0.6: standard error 0.1, t(1) = 12.706; of three, the textbook interval."""
    assert parts(metrics.mean([0.4, 0.6])) == pytest.approx((0.5, 0.5 - 1.2706, 0.5 + 1.2706), abs=1e-3)
    assert parts(metrics.mean([0.4, 0.6], bounds=metrics.SHARE)) == pytest.approx((0.5, 0.0, 1.0))
    values = [1.0, 2.0, 4.0]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert parts(metrics.mean(values))[1:] == pytest.approx(expected)


def test_two_patients_show_no_significant_difference_whatever_their_values():
    values = np.array([[0.5, 0.6], [0.2, 0.29]])
    difference, p = metrics.paired_difference(lambda system, index: float(values[system][index].mean()), 2)
    assert p == pytest.approx(stats.ttest_rel(*values).pvalue)
    assert parts(difference)[0] == pytest.approx(0.305)


def test_roc_curve_starts_without_a_threshold_and_passes_the_known_points():
    points = metrics.roc_curve([1, 0, 1, 0], [4, 3, 2, 1])
    assert points[0] == {"fpr": 0.0, "tpr": 0.0, "threshold": None}
    assert [(p["fpr"], p["tpr"]) for p in points[1:]] == [(0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert metrics.roc_curve([1, 1], [0.1, 0.2]) == []


def test_mcnemar_of_a_known_table():
    """1 against 9 discordant: p = 2 (1 + 10) / 2^10."""
    first, second = [True] + [False] * 9 + [True] * 5, [False] + [True] * 9 + [True] * 5
    assert metrics.mcnemar(first, second) == pytest.approx(22 / 1024)
    assert metrics.mcnemar([True, False], [True, False]) is None


def test_delong_comparison_agrees_with_the_bootstrap():
    generator = np.random.default_rng(5)
    labels = np.repeat([1, 0], 150)
    signal = labels + generator.normal(0, 1, 300)
    weaker = signal + generator.normal(0, 1, 300)
    scores = (signal, weaker)
    difference, bootstrap_p = metrics.paired_difference(
        lambda system, index: metrics.area(labels[index], scores[system][index]), 300, samples=1000
    )
    p = metrics.delong_p(labels, signal, weaker)
    value, low, high = parts(difference)
    standard_error = (high - low) / (2 * 1.96)
    assert p == pytest.approx(math.erfc(value / standard_error / math.sqrt(2)), abs=5e-3)
    assert bootstrap_p == pytest.approx(p, abs=0.02)
    assert metrics.delong_p(labels, signal, signal) is None


@pytest.mark.parametrize("patients", [3, 12])
def test_equal_systems_have_no_interval_for_one_without_width_would_prove_them_equal(patients):
    values = np.linspace(0, 1, patients)
    difference, p = metrics.paired_difference(lambda _, index: float(values[index].mean()), patients, samples=200)
    assert difference == {"value": 0.0, "low": None, "high": None, "n": patients}
    assert p is None


@pytest.mark.parametrize("patients", [5, 12])
def test_all_or_nothing_found_does_not_claim_certainty(patients):
    """Wilson's interval of the patients, not of their many clots; two have none."""
    clots = [7] * patients + [0, 0]
    all_found, none_found = metrics.ratio(clots, clots), metrics.ratio([0] * len(clots), clots)
    assert parts(all_found) == parts(metrics.proportion(patients, patients))
    assert parts(none_found) == parts(metrics.proportion(0, patients))
    assert all_found["n"] == none_found["n"] == 7 * patients
    assert metrics.mean([0.3] * patients)["low"] is None


def test_bootstrap_p_is_two_sided_and_never_zero():
    """All differences positive: no draw at or below zero, so 2 (0 + 1) / (199 + 1)."""
    values = np.array([[0.5, 0.6, 0.9] * 4, [0.1, 0.2, 0.3] * 4])
    _, p = metrics.paired_difference(lambda system, index: float(values[system][index].mean()), 12, samples=199)
    assert p == pytest.approx(0.01)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(-5, 5)), min_size=2, max_size=20).filter(
        lambda rows: 0 < sum(label for label, _ in rows) < len(rows)
    )
)
def test_auc_is_the_share_of_pairs_in_order_and_inside_its_interval(rows):
    labels, scores = zip(*rows, strict=True)
    pairs = [
        (a, b) for a, la in zip(scores, labels, strict=True) for b, lb in zip(scores, labels, strict=True) if la > lb
    ]
    figure = metrics.auc(labels, scores)
    assert figure["value"] == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))
    assert metrics.area(np.array(labels), np.array(scores)) == pytest.approx(figure["value"])
    value, low, high = parts(figure)
    assert 0 <= low <= value <= high <= 1


def test_patients_who_count_nothing_do_not_make_a_share_surer():
    """3 patients with clots and 20 normals, who say nothing of how many clots are found."""
    alone = metrics.ratio([3, 3, 4], [5, 5, 5])
    assert metrics.ratio([3, 3, 4] + [0] * 20, [5, 5, 5] + [0] * 20) == alone
    assert parts(alone)[2] - parts(alone)[1] > 0.5


@pytest.mark.parametrize(("found", "other", "clots"), [(5, 2, 7), (3, 1, 3), (1, 3, 10)])
def test_a_difference_alike_in_all_patients_has_no_interval_and_no_p(found, other, clots):
    """Rounding alone makes what is left when one is left out differ by 1e-17, which is no standard error."""
    values = np.array([[found / clots] * 2, [other / clots] * 2])
    difference, p = metrics.paired_difference(lambda system, index: float(values[system][index].mean()), 2)
    assert (difference["low"], difference["high"], p) == (None, None, None)
    assert metrics.mean([0.1] * 3)["low"] is None
