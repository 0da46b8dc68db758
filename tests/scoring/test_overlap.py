"""Overlap and surface distance of cubes with known answers."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cpmn.scoring.overlap import dice, surface_agreement


def cube(corner, size=10, shape=(30, 30, 30)):
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(c, c + size) for c in corner)] = 1
    return mask


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (5, 0.5), (9, 0.1), (10, 0.0)])
def test_dice_of_shifted_cubes(shift, expected):
    """Cubes of 10 voxels shifted by s share (10 - s) / 10 of each."""
    assert dice(cube((5, 5, 5)), cube((5, 5, 5 + shift))) == pytest.approx(expected)


def test_no_prediction_is_zero_and_two_empty_masks_are_undefined():
    empty = np.zeros((4, 4, 4))
    assert dice(empty, cube((0, 0, 0), 2, (4, 4, 4))) == 0.0
    assert math.isnan(dice(empty, empty))


def test_clot_ids_count_as_foreground():
    reference = cube((5, 5, 5)) * 7
    assert dice(cube((5, 5, 5)), reference) == 1.0


def test_equal_masks_have_no_distance():
    assert surface_agreement(cube((5, 5, 5)), cube((5, 5, 5)), (1, 1, 1)) == {"assd_mm": 0, "hd95_mm": 0, "nsd": 1}


def test_distance_is_in_mm_along_each_axis():
    """Single voxels three apart along one axis: every distance is three spacings of that axis."""
    for axis, spacing_mm in ((0, 5.0), (1, 0.8), (2, 0.7)):
        first, second = np.zeros((2, 9, 9, 9))
        first[4, 4, 4] = 1
        second[tuple(7 if i == axis else 4 for i in range(3))] = 1
        result = surface_agreement(first, second, (0.7, 0.8, 5.0), tolerance_mm=1.0)
        assert result["assd_mm"] == pytest.approx(3 * spacing_mm)
        assert result["hd95_mm"] == pytest.approx(3 * spacing_mm)
        assert result["nsd"] == 0.0


def test_surface_distance_against_brute_force():
    generator = np.random.default_rng(0)
    first, second = (generator.random((2, 8, 9, 10)) > 0.8).astype(np.uint8)
    spacing = (0.7, 0.9, 2.0)

    def border(mask):
        padded = np.pad(mask, 1)
        inner = np.ones(mask.shape, bool)
        for axis in range(3):
            for step in (-1, 1):
                inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1] > 0
        return np.argwhere((mask > 0) & ~inner)[:, ::-1] * spacing

    distance = cdist(border(first), border(second))
    forth, back = distance.min(axis=1), distance.min(axis=0)
    result = surface_agreement(first, second, spacing, tolerance_mm=1.0)
    assert result["assd_mm"] == pytest.approx(np.concatenate([forth, back]).mean())
    assert result["hd95_mm"] == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)))
    assert result["nsd"] == pytest.approx((np.concatenate([forth, back]) <= 1).mean())


def test_empty_prediction_has_no_distance_and_no_surface_agreement():
    result = surface_agreement(np.zeros((30, 30, 30)), cube((5, 5, 5)), (1, 1, 1))
    assert math.isnan(result["assd_mm"])
    assert math.isnan(result["hd95_mm"])
    assert result["nsd"] == 0.0
