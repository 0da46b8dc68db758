"""Outlining by readers who know the anatomy: known answers."""

import numpy as np
import pytest

from benchmarks.outline import LIMITS_HU, SIGMAS_MM, cross_fitted, dices


def test_without_noise_the_narrowest_average_outlines_a_clot_that_fills_its_artery():
    """A clot of 18 HU in half of an artery: its end is drawn out by the average, so that half the contrast fits."""
    artery = np.zeros((20, 9, 9), bool)
    artery[:, 2:7, 2:7] = True
    truth = artery.copy()
    truth[:10] = False
    found = np.array(dices(np.where(truth, 18.0, 0.0), artery, truth, (1.5, 1.5, 1.5)))
    assert found.shape == (2, len(SIGMAS_MM), len(LIMITS_HU))
    assert found[0, 0, LIMITS_HU.index(8)] == 1.0
    assert found[0, -1, LIMITS_HU.index(3)] < 1.0  # marks beyond the end
    assert (found[:, :, LIMITS_HU.index(19)] == 0).all()


def test_a_dark_clot_is_found_by_its_absolute_contrast_alone():
    artery = np.ones((8, 8, 8), bool)
    truth = np.zeros_like(artery)
    truth[:4] = True
    found = np.array(dices(np.where(truth, -18.0, 0.0), artery, truth, (1.5, 1.5, 1.5)))
    assert found[1, 0, LIMITS_HU.index(8)] == 1.0
    assert (found[0] == 0).all()


def test_what_is_best_in_one_half_is_used_on_the_other():
    """Patients 0 and 2 would choose the first setting, 1 and 3 the second: each half gets what the other chose."""
    values = np.array([[[0.9, 0.1]], [[0.2, 0.7]], [[0.8, 0.3]], [[0.4, 0.6]]])
    assert cross_fitted(values).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
