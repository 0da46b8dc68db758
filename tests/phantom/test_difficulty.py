import numpy as np
import pytest

from cpmn.phantom.difficulty import MIXTURES, PATIENT_SPREAD_HU, draw_contrasts


def drawn(difficulty: str, patients: int, clots: int) -> np.ndarray:
    """Contrasts (patients, clots) in HU."""
    random = np.random.default_rng(0)
    return np.array([[hu for _, hu in draw_contrasts(difficulty, clots, random)] for _ in range(patients)])


@pytest.mark.parametrize("difficulty", MIXTURES)
def test_shares_of_a_mixture_add_up(difficulty: str):
    assert sum(component.share for component in MIXTURES[difficulty]) == pytest.approx(1)


def test_learnable_is_hyperdense_throughout():
    assert 15 <= drawn("learnable", 50, 10).min() < drawn("learnable", 50, 10).max() <= 35


def test_invisible_has_no_contrast():
    assert not drawn("invisible", 20, 10).any()


def test_mixed_draws_the_published_shares_for_each_clot():
    contrast = drawn("mixed", 400, 10)
    assert (np.abs(contrast) <= 8).mean() == pytest.approx(0.55, abs=0.03)
    assert (contrast >= 15).mean() == pytest.approx(0.25 + 0.06, abs=0.03)
    assert (contrast <= -8).mean() == pytest.approx(0.08 + 0.06, abs=0.03)
    assert ((np.abs(contrast) > 8).any(axis=1)).mean() > 0.98  # nearly every patient holds a visible clot


def test_realistic_draws_once_per_patient():
    names, spans, means = [], [], []
    random = np.random.default_rng(1)
    for _ in range(1000):
        clots = draw_contrasts("realistic", 10, random)
        assert len({name for name, _ in clots}) == 1
        values = np.array([hu for _, hu in clots])
        names.append(clots[0][0])
        if names[-1] != "mixed":
            spans.append(np.ptp(values))
            means.append((names[-1], values.mean()))
    assert max(spans) <= 2 * PATIENT_SPREAD_HU
    assert np.mean([name == "isodense" for name in names]) == pytest.approx(0.55, abs=0.04)
    assert max(abs(mean) for name, mean in means if name == "isodense") <= 8 + PATIENT_SPREAD_HU
