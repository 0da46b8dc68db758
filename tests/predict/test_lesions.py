"""What is said of each mark, of boxes with known answers in a made-up chest."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.lungs import segment_lungs
from cpmn.predict.lesions import describe_lesions, longest_mm, ordered_lesions
from tests.predict.conftest import chest

PLACES = {
    "right lung, low": ((5, 35, 25), ("right", "lower third")),
    "left lung, in the middle": ((15, 35, 65), ("left", "middle third")),
    "left lung, high": ((25, 35, 65), ("left", "upper third")),
    "right hilum": ((15, 35, 40), ("right", "central")),
    "on both sides of the middle": ((15, 35, 45), ("both", "central")),
    "chest wall": ((15, 9, 45), ("both", "outside")),
}
"""Centre (z, y, x) of a mark of 3 voxels along each axis, and where it lies: x grows to the left."""


def box(*centre: int, size: int = 3) -> np.ndarray:
    marked = np.zeros((30, 70, 90), np.int32)
    marked[tuple(slice(i - size // 2, i + size // 2 + 1) for i in centre)] = 1
    return marked


def described(labels: np.ndarray, probability: float = 0.75, hu: int | None = None) -> list[dict]:
    native = chest()
    array = sitk.GetArrayFromImage(native)
    if hu is not None:
        array[labels != 0] = hu
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(native)
    return describe_lesions(labels, np.full(labels.shape, probability), changed, segment_lungs(native), None)


@pytest.mark.parametrize(("centre", "expected"), PLACES.values(), ids=list(PLACES))
def test_where_a_mark_lies(centre, expected):
    (lesion,) = described(box(*centre))
    assert (lesion["side"], lesion["region"]) == expected


def test_figures_of_a_mark():
    """Voxels of 4 x 4 x 5 mm; the blood of this chest has 40 HU."""
    (lesion,) = described(box(14, 35, 45), hu=72)
    assert lesion["volume_ml"] == pytest.approx(27 * 0.08)
    assert lesion["longest_mm"] == pytest.approx(np.linalg.norm([12, 12, 15]))
    assert (lesion["mean_hu"], lesion["contrast_hu"]) == (72, pytest.approx(32, abs=1))
    assert lesion["confidence"] == 0.75
    assert lesion["centroid_mm"] == pytest.approx([0, 0, -330])


def test_the_slice_is_that_of_the_largest_area_counted_from_the_feet():
    labels = box(10, 35, 45)
    labels[9, 30:40, 40:50] = 1
    (lesion,) = described(labels)
    assert lesion["slice"] == 10
    assert (lesion["instance_number"], lesion["sop_instance_uid"], lesion["frame"]) == (None, None, None)


def test_marks_are_numbered_by_volume():
    labels = box(5, 35, 25) + 2 * box(15, 35, 65, size=5) + 3 * box(25, 35, 25)
    ordered = ordered_lesions(labels)
    assert (ordered[15, 35, 65], ordered[5, 35, 25], ordered[25, 35, 25]) == (1, 2, 3)
    assert np.array_equal(ordered != 0, labels != 0)
    assert [one["number"] for one in described(ordered)] == [1, 2, 3]


def test_no_mark():
    empty = np.zeros((30, 70, 90), np.int32)
    assert described(ordered_lesions(empty)) == []


def test_longest_distance_of_a_row_and_of_a_voxel():
    assert longest_mm(np.array([[x, 0, 0] for x in range(10)]), (1.0, 1.0, 1.0)) == pytest.approx(np.sqrt(102))
    assert longest_mm(np.array([[3, 4, 5]]), (1.0, 2.0, 2.0)) == 3
