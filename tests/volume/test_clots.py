"""What the values of a mask mean: one rule for all masks."""

import numpy as np
import pytest

from cpmn.volume.clots import clot_ids


def mask(*voxels: tuple[int, int, int], values=None) -> np.ndarray:
    labels = np.zeros((6, 8, 8), np.uint16)
    for voxel, value in zip(voxels, values or [1] * len(voxels), strict=True):
        labels[voxel] = value
    return labels


# 255: nnU-Net #1247 and #1777; 500: Slicer #4886, values that are multiplied to be seen; 1: ANTs #1118, one mask of
# several lesions that are to be counted
@pytest.mark.parametrize("value", [1, 7, 255, 500])
def test_one_value_is_split_into_pieces(value):
    ids = clot_ids(mask((0, 0, 0), (1, 1, 1), (4, 4, 4), values=[value] * 3))  # the first two share a corner
    assert ids[0, 0, 0] == ids[1, 1, 1] != ids[4, 4, 4]
    assert sorted(np.unique(ids)) == [0, 1, 2]


def test_several_values_are_kept():
    labels = mask((0, 0, 0), (3, 3, 3), (5, 5, 5), values=[3, 9, 3])
    assert clot_ids(labels) is labels


@pytest.mark.parametrize("values", [(1, 2), (1, 2, 3, 4, 5), (2, 41)])
def test_labels_of_one_class_that_number_lesions_are_ids(values):
    """nnU-Net #2402: lesion_area1 to lesion_area5 are lesions of one kind; Slicer #5044: label values of a colour table
    need not follow each other."""
    labels = mask(*[(0, 0, 2 * (n % 4)) if n < 4 else (4, 4, 0) for n in range(len(values))], values=list(values))
    assert clot_ids(labels) is labels


def test_lesions_that_touch_and_share_a_value_are_one():
    """EBImage #30, MetricsReloaded #60: whether pixels that share a corner are one object; here they are."""
    assert clot_ids(mask((0, 0, 0), (1, 1, 1), (2, 2, 2))).max() == 1


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
