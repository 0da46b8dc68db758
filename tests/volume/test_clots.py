"""What the values of a mask mean: one rule for all masks."""

import numpy as np
import pytest

from cpmn.volume.clots import clot_ids


def mask(*voxels: tuple[int, int, int], values=None) -> np.ndarray:
    labels = np.zeros((6, 8, 8), np.uint16)
    for voxel, value in zip(voxels, values or [1] * len(voxels), strict=True):
        labels[voxel] = value
    return labels


@pytest.mark.parametrize("value", [1, 7, 255])  # 255: nnU-Net #1247 and #1777
def test_one_value_is_split_into_pieces(value):
    ids = clot_ids(mask((0, 0, 0), (1, 1, 1), (4, 4, 4), values=[value] * 3))  # the first two share a corner
    assert ids[0, 0, 0] == ids[1, 1, 1] != ids[4, 4, 4]
    assert sorted(np.unique(ids)) == [0, 1, 2]


def test_several_values_are_kept():
    labels = mask((0, 0, 0), (3, 3, 3), (5, 5, 5), values=[3, 9, 3])
    assert clot_ids(labels) is labels


@pytest.mark.parametrize("value", [1, 7])
def test_a_single_clot_keeps_its_value(value):
    labels = mask((2, 2, 2), (2, 2, 3), values=[value] * 2)
    np.testing.assert_array_equal(clot_ids(labels), labels)


def test_no_clot_stays_empty():
    assert not clot_ids(mask()).any()


def test_pieces_are_numbered_beyond_a_byte():
    labels = np.zeros((9, 64, 64), np.uint8)
    labels[::2, ::2, ::2] = 1
    assert clot_ids(labels).max() == 5 * 32 * 32
