"""The comparison of patients with their own twins, on which the phantom's claim of honesty rests."""

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks.phantom import _auc_against_twins

COUNT, SHIFT = 60, 0.3


def test_a_shift_has_its_closed_form_and_the_interval_covers_it():
    """Blood of SD 1 that emboli lift by SHIFT: AUC = Phi(SHIFT / sqrt 2), between other patients and their twins."""
    random, expected, found = np.random.default_rng(0), norm.cdf(SHIFT / np.sqrt(2)), []
    for _ in range(400):
        twins = random.standard_normal(COUNT)
        found.append(_auc_against_twins(twins + SHIFT * random.uniform(0.8, 1.2, COUNT), twins))
    assert np.mean([one["auc"] for one in found]) == pytest.approx(expected, abs=0.003)
    covered = np.mean([one["low"] <= expected <= one["high"] for one in found])
    assert 0.91 < covered < 0.98
    assert max(one["high"] - one["low"] for one in found) < 0.1  # 60 against 60 strangers: about 0.2


def test_emboli_that_change_nothing_leave_one_half():
    twins = np.random.default_rng(0).integers(0, 5, 30).astype(float)
    assert _auc_against_twins(twins, twins)["auc"] == 0.5
