"""Emboli in given arteries."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cpmn.phantom.chest.emboli import CLEARANCE_MM, LUMEN, WALL_MM, draw_chest_emboli

STEPS = np.array((6.0, 4.0, 4.0))


def draw(chest, seed: int = 0):
    random, contrast = np.random.default_rng(seed), np.random.default_rng(100 + seed)
    return draw_chest_emboli(chest.vessels, chest.grid.spacing, "learnable", random, contrast)


@pytest.mark.parametrize("seed", range(5))
def test_clots_lie_in_arteries_apart_from_each_other(chest, seed):
    clots = draw(chest, seed)
    assert [clot.clot_id for clot in clots] == list(range(1, len(clots) + 1))
    assert clots
    for clot in clots:
        assert (chest.vessels.artery[tuple(clot.voxels.T)] >= LUMEN).all()
        assert chest.vessels.central[tuple(clot.voxels.T)].all() == (clot.place == "central")
        assert 15 <= clot.over_blood_hu <= 35
    for one, two in combinations(clots, 2):
        assert cdist(one.voxels * STEPS, two.voxels * STEPS).min() > CLEARANCE_MM


def test_contrast_medium_flows_round_a_central_clot(chest):
    central = [clot for seed in range(6) for clot in draw(chest, seed) if clot.place == "central"]
    outside = np.argwhere(~chest.vessels.central)
    assert central
    for clot in central:
        same_slice = [np.abs(outside[outside[:, 0] == z][:, 1:] - (y, x)) for z, y, x in clot.voxels]
        assert min(np.linalg.norm(gap * 4.0, axis=1).min() for gap in same_slice) > WALL_MM


def test_difficulty_changes_the_contrast_alone(chest):
    one, two = (
        draw_chest_emboli(chest.vessels, chest.grid.spacing, name, np.random.default_rng(3), np.random.default_rng(4))
        for name in ("learnable", "invisible")
    )
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.voxels, b.voxels)
        assert (a.over_blood_hu, b.over_blood_hu) == (pytest.approx(25, abs=10), 0)


def test_without_arteries_there_are_no_clots(chest):
    chest.vessels.artery[:] = 0
    chest.vessels.central[:] = False
    assert draw(chest) == []
