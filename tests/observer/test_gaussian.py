"""The observer on cases with closed-form answers."""

import itertools
import math

import numpy as np
import pytest

from cpmn.observer.gaussian import (
    ROUNDING_VARIANCE,
    Template,
    Whitener,
    auc_of_known_signal,
    d_prime,
    response,
    smooth_power,
)
from cpmn.phantom.noise import Noise, noise_power
from cpmn.phantom.render import Grid
from cpmn.scoring.metrics import area

GRID = Grid((12, 10, 8), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0))
SHAPE = GRID.size[::-1]
SLICES = np.linspace(8.0, 12.0, SHAPE[0])
BLOB = Template((slice(2, 5), slice(4, 8), slice(3, 6)), np.random.default_rng(1).uniform(0, 1, (3, 4, 3)))


@pytest.fixture(scope="module")
def noise() -> Noise:
    """The phantom's own, with slices of unequal noise."""
    return Noise(SLICES, noise_power(GRID, "soft"))


@pytest.fixture(scope="module")
def whitener(noise: Noise) -> Whitener:
    return Whitener(noise.power, noise.sd, SHAPE)


def dense_covariance(noise: Noise) -> np.ndarray:
    """K (n, n), voxel by voxel, without any division of a spectrum."""
    correlation = np.fft.irfftn(noise.power, SHAPE, (0, 1, 2))
    points = np.argwhere(np.ones(SHAPE))
    lags = (points[:, None] - points[None]) % SHAPE
    sd = noise.sd[points[:, 0]]
    rounding = ROUNDING_VARIANCE / np.mean(noise.sd**2) * np.eye(len(points))
    return (correlation[tuple(np.moveaxis(lags, -1, 0))] + rounding) * sd[:, None] * sd[None]


def test_energy_and_response_equal_the_dense_matrix(whitener, noise):
    signal = np.zeros(SHAPE)
    signal[BLOB.box] = BLOB.share
    solved = np.linalg.solve(dense_covariance(noise), signal.ravel())
    residual = np.random.default_rng(2).normal(0, 10, SHAPE)
    assert whitener.energy(BLOB) == pytest.approx(signal.ravel() @ solved, rel=1e-4)
    assert response(BLOB, whitener.apply(residual)) == pytest.approx(residual.ravel() @ solved, rel=1e-4)


def test_white_noise_needs_no_prewhitening():
    white = Whitener(np.ones((8, 10, 7)), np.full(8, 5.0), SHAPE)
    expected = 3 * np.linalg.norm(BLOB.share) / math.sqrt(25 + ROUNDING_VARIANCE)
    assert d_prime(-3.0, white.energy(BLOB)) == pytest.approx(expected)


def test_template_as_wide_as_the_grid_has_its_exact_energy(whitener):
    whole = Template((slice(None),) * 3, np.random.default_rng(3).uniform(0, 1, SHAPE))
    expected = response(whole, whitener.apply(whole.share))
    assert whitener.energy(whole) == pytest.approx(expected)


def test_known_signal_at_a_known_place_reaches_the_closed_form(whitener, noise):
    """d' = sqrt(s' K^-1 s) and AUC = Phi(d' / sqrt 2), with the noise that the phantom draws."""
    random, contrast = np.random.default_rng(5), 2.0
    expected = d_prime(contrast, whitener.energy(BLOB))
    count, scores = 1500, []
    for index in range(2 * count):
        image = noise.draw(GRID.size, random) + random.normal(0, math.sqrt(ROUNDING_VARIANCE), SHAPE)
        image[BLOB.box] += contrast * BLOB.share * (index < count)
        scores.append(response(BLOB, whitener.apply(image)))
    present, absent = np.array(scores[:count]), np.array(scores[count:])
    assert 0.5 < expected < 3  # neither hopeless nor certain: there an error shows
    assert (present.mean() - absent.mean()) / absent.std() == pytest.approx(expected, abs=4 * math.sqrt(2 / count))
    labels = np.repeat([1, 0], count)
    assert area(labels, np.array(scores)) == pytest.approx(
        auc_of_known_signal(expected), abs=4 * 0.5 / math.sqrt(count)
    )


def test_one_of_m_places_has_the_known_moments():
    """Mean over m orthogonal places: E[L | absent] = 1 and E[L | present] = 1 + (exp(d'^2) - 1) / m."""
    places, size, d = 4, 8, 1.0
    white = Whitener(np.ones((1, 1, size // 2 + 1)), np.ones(1), (1, 1, size))
    templates = [Template((slice(0, 1), slice(0, 1), slice(i, i + 1)), np.ones((1, 1, 1))) for i in range(places)]
    random, count = np.random.default_rng(6), 8000
    energy, ratios = 1.0, np.empty((2, count))
    assert white.energy(templates[0]) == pytest.approx(energy / (1 + ROUNDING_VARIANCE))
    for index, present in itertools.product(range(count), (0, 1)):
        image = random.normal(0, 1, (1, 1, size))
        image[0, 0, random.integers(places)] += d * present
        u = np.array([response(template, image) for template in templates])  # K is the identity
        ratios[present, index] = np.exp(d * u - d * d * energy / 2).mean()
    error = ratios.std(axis=1) / math.sqrt(count)
    assert ratios[0].mean() == pytest.approx(1, abs=4 * error[0])
    assert ratios[1].mean() == pytest.approx(1 + (math.exp(d * d) - 1) / places, abs=4 * error[1])


def test_uneven_blood_adds_its_covariance(noise):
    """Energy and response equal those of the dense sum of both covariances; the smooth one has the known variance."""
    power = smooth_power(SHAPE, GRID.spacing, fwhm_mm=6.0)
    correlation = np.fft.irfftn(power, SHAPE, (0, 1, 2))
    assert correlation[0, 0, 0] == pytest.approx(1)
    assert correlation[0, 0, 1] == pytest.approx(math.exp(-((2.0 / (6.0 / 2.355)) ** 2) / 4), rel=0.02)
    even = Noise(np.full(SHAPE[0], 10.0), noise.power)  # equal slices: there the sum of spectra is exact
    points = np.argwhere(np.ones(SHAPE))
    lags = (points[:, None] - points[None]) % SHAPE
    covariance = dense_covariance(even) + 16 * correlation[tuple(np.moveaxis(lags, -1, 0))]
    signal, residual = np.zeros(SHAPE), np.random.default_rng(2).normal(0, 10, SHAPE)
    signal[BLOB.box] = BLOB.share
    solved = np.linalg.solve(covariance, signal.ravel())
    whitener = Whitener(even.power, even.sd, SHAPE, 16 * power)
    assert whitener.energy(BLOB) == pytest.approx(signal.ravel() @ solved, rel=1e-3)
    assert response(BLOB, whitener.apply(residual)) == pytest.approx(residual.ravel() @ solved, rel=1e-3)
