"""Noise of drawn tissue."""

import numpy as np
import pytest

from cpmn.volume.noise import noise_hu


@pytest.mark.parametrize("sd", [5.0, 12.0])
def test_white_noise_is_measured_beside_edges_and_slopes(sd):
    hu = 40 + np.random.default_rng(0).normal(0, sd, (10, 60, 60)) + np.arange(60) / 3
    hu[:, :, :20] = -850
    assert noise_hu(hu) == pytest.approx(sd, rel=0.05)


def test_without_soft_tissue_there_is_none():
    assert noise_hu(np.full((5, 40, 40), -1000)) is None
