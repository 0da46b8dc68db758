"""Likelihood ratios averaged over the contrast, against numerical integration and the phantom's own draws."""

import math

import numpy as np
import pytest
from scipy import integrate

from cpmn.observer.priors import (
    DIFFICULTIES,
    Contrasts,
    clot_contrasts,
    is_shared,
    patient_contrasts,
    uniform_log_ratio,
)
from cpmn.phantom.difficulty import draw_contrasts


@pytest.mark.parametrize(("u", "b"), [(0.5, 0.05), (-2.0, 0.3), (4.0, 0.2), (0.0, 1e-9)])
@pytest.mark.parametrize(("low", "high"), [(15.0, 35.0), (-35.0, -15.0), (-5.0, 5.0)])
def test_ratio_over_a_range(u, b, low, high):
    peak = max(c * u - c * c * b / 2 for c in (low, high, min(max(u / b, low), high)))
    value, _ = integrate.quad(lambda c: math.exp(c * u - c * c * b / 2 - peak) / (high - low), low, high, limit=200)
    found = uniform_log_ratio(low, high, np.array([u]), np.array([b]))[0]
    assert found == pytest.approx(math.log(value) + peak, abs=1e-6)


def test_range_far_from_the_data_keeps_its_digits():
    """A large clot of -60 HU under a prior of +15 to +35: hopelessly unlikely, but finite and in order."""
    b = np.array([0.5, 0.5, 0.5])
    logs = uniform_log_ratio(15.0, 35.0, np.array([-60.0, 0.0, 25.0]) * b, b)
    assert np.isfinite(logs).all()
    assert list(logs) == sorted(logs)
    assert logs[0] == pytest.approx(15 * -30 - 15**2 / 4 - math.log(20 * 37.5), abs=0.05)  # Laplace at the edge


def test_several_ranges_give_the_weighted_mean():
    u, b = np.array([0.3]), np.array([0.1])
    one, two = (uniform_log_ratio(low, high, u, b) for low, high in ((-8, 8), (15, 35)))
    expected = np.log(0.3 * np.exp(one) + 0.7 * np.exp(two))
    assert Contrasts(((-8, 8), (15, 35)), (0.3, 0.7)).log_ratio(u, b) == pytest.approx(expected)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_prior_of_a_clot_is_what_the_phantom_draws(difficulty):
    """Mean of exp(c u - c^2 b / 2) over drawn contrasts."""
    random, u, b = np.random.default_rng(0), np.array([0.04]), np.array([0.002])
    drawn = np.array([draw_contrasts(difficulty, 1, random)[0][1] for _ in range(20000)])
    ratios = np.exp(drawn * u - drawn**2 * b / 2)
    if is_shared(difficulty):
        prior = patient_contrasts(difficulty)
        each = np.exp([uniform_log_ratio(*limits, u, b)[0] for limits in prior.ranges])
        expected = (np.exp(prior.log_weights) * each[prior.states].mean(axis=1)).sum()
    else:
        expected = np.exp(clot_contrasts(difficulty).log_ratio(u, b)[0])
    assert ratios.mean() == pytest.approx(expected, abs=4 * ratios.std() / math.sqrt(len(drawn)))


def test_two_clots_of_a_patient_share_their_contrast():
    """Mean of the product over two clots: the only place where a shared contrast differs from two single ones."""
    random, u, b = np.random.default_rng(1), 0.06, 0.002
    drawn = np.array([[c for _, c in draw_contrasts("realistic", 2, random)] for _ in range(20000)])
    products = np.exp(drawn * u - drawn**2 * b / 2).prod(axis=1)
    prior = patient_contrasts("realistic")
    each = np.exp([uniform_log_ratio(*limits, np.array([u]), np.array([b]))[0] for limits in prior.ranges])
    expected = (np.exp(prior.log_weights) * each[prior.states].mean(axis=1) ** 2).sum()
    single = (np.exp(prior.log_weights) * each[prior.states].mean(axis=1)).sum() ** 2
    error = products.std() / math.sqrt(len(drawn))
    assert products.mean() == pytest.approx(expected, abs=4 * error)
    assert abs(expected - single) > 8 * error  # the test would notice


def test_weights_sum_to_one():
    assert np.exp(patient_contrasts("realistic").log_weights).sum() == pytest.approx(1)
    assert sum(clot_contrasts("mixed").weights) == pytest.approx(1)
