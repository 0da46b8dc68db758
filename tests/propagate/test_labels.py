"""Resampling of clot ids: known answers and properties."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.propagate import PropagateConfig
from cpmn.propagate import labels as module
from cpmn.propagate.labels import fullest, propagate_labels
from cpmn.volume.images import same_grid

CONFIG = PropagateConfig()
IDENTITY = sitk.Transform(3, sitk.sitkIdentity)


def image_of(array, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(array, np.uint16))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def clots(shape=(30, 32, 34)) -> np.ndarray:
    array = np.zeros(shape, np.uint16)
    array[5:9, 6:11, 7:13] = 3
    array[20:22, 20:21, 20:24] = 7
    array[15, 25, 28] = 300
    return array


def propagated(labels, target, transform=IDENTITY, config=CONFIG):
    image, accounts = propagate_labels(labels, target, transform, config)
    return sitk.GetArrayFromImage(image), {clot.label: clot for clot in accounts}, image


def test_identity_changes_nothing():
    labels = image_of(clots())
    array, accounts, image = propagated(labels, labels)
    np.testing.assert_array_equal(array, clots())
    assert image.GetPixelID() == sitk.sitkUInt16
    assert same_grid(image, labels)
    for clot in accounts.values():
        assert clot.source_ml == pytest.approx(clot.mapped_ml, rel=1e-6)
        assert clot.source_ml == pytest.approx(clot.written_ml, rel=1e-6)


@pytest.mark.parametrize("supersampling", [1, 2, 3])
def test_a_shift_by_whole_voxels_is_exact(supersampling):
    labels = image_of(clots(), spacing=(0.8, 0.9, 2.0), origin=(-7.0, 3.0, 11.0))
    shift = sitk.TranslationTransform(3, (0.8 * 3, -0.9 * 2, 2.0 * 4))  # target points to source points
    array, _, _ = propagated(labels, labels, shift, PropagateConfig(supersampling=supersampling))
    np.testing.assert_array_equal(array, np.roll(clots(), (-4, 2, -3), axis=(0, 1, 2)))


def test_a_turned_target_shows_the_same_clots():
    labels = image_of(clots())
    target = sitk.Flip(sitk.PermuteAxes(labels, (1, 0, 2)), (False, False, True))
    array, _, _ = propagated(labels, target)
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(target))


def test_a_clot_far_smaller_than_a_target_voxel_survives():
    labels = image_of(clots(), spacing=(0.7, 0.7, 0.7))
    target = image_of(np.zeros((5, 6, 6)), spacing=(4.0, 4.0, 5.0))
    array, accounts, _ = propagated(labels, target)
    assert set(np.unique(array)) == {0, 3, 7, 300}
    assert np.sum(array == 300) == 1
    voxel = tuple(np.argwhere(array == 300)[0])
    point = labels.TransformIndexToPhysicalPoint((28, 25, 15))
    assert voxel == tuple(reversed(target.TransformPhysicalPointToIndex(point)))
    assert accounts[3].mapped_ml == pytest.approx(accounts[3].source_ml, rel=0.2)


def test_tiny_clots_that_meet_in_one_voxel_keep_a_voxel_each():
    array = np.zeros((20, 20, 20), np.uint16)
    array[10, 10, 8:10], array[10, 10, 10:13] = 1, 2
    target = image_of(np.zeros((4, 4, 4)), spacing=(5.0, 5.0, 5.0), origin=(2.0, 2.0, 2.0))
    result, _, _ = propagated(image_of(array), target)
    assert np.sum(result == 1) == np.sum(result == 2) == 1


def test_a_clot_never_takes_anothers_only_voxel():
    array = np.zeros((20, 20, 20), np.uint16)
    array[10, 10, 11], array[10, 10, 12] = 1, 2  # both inside one and the same target voxel
    target = image_of(np.zeros((4, 4, 4)), spacing=(5.0, 5.0, 5.0), origin=(2.0, 2.0, 2.0))
    result, accounts, _ = propagated(image_of(array), target)
    assert set(np.unique(result)) == {0, 1}
    assert accounts[2].written_ml == 0


def test_a_clot_in_many_slabs_is_that_of_one(monkeypatch):
    """Clots all over the scan, by a motion that is none of the grid's."""
    random, sizes = np.random.default_rng(3), []
    labels = image_of(random.integers(-3, 4, (24, 26, 28)).clip(0), spacing=(0.7, 0.8, 1.1))
    target = image_of(np.zeros((11, 9, 10)), spacing=(1.9, 2.1, 2.3), origin=(0.3, -0.4, 0.6))
    motion = sitk.Euler3DTransform((9.0, 10.0, 13.0), 0.13, -0.21, 0.34, (0.4, -0.7, 0.9))
    resample = sitk.Resample

    def counted(image, size, *others):
        sizes.append(np.prod(size))
        return resample(image, size, *others)

    monkeypatch.setattr(module.sitk, "Resample", counted)
    whole, accounts, _ = propagated(labels, target, motion)
    count, largest = len(sizes), max(sizes)
    assert count == len(accounts) == 3
    for limit in (1, largest // 4):
        sizes.clear()
        monkeypatch.setattr(module, "SLAB_SAMPLES", limit)
        slabs, same, _ = propagated(labels, target, motion)
        np.testing.assert_array_equal(slabs, whole)
        assert same == accounts
        assert max(sizes) <= max(limit, largest // 9)
        assert len(sizes) > count


def test_volume_is_kept_on_another_grid():
    z, y, x = np.meshgrid(*[np.arange(48)] * 3, indexing="ij")
    ball = ((x - 24) ** 2 + (y - 23) ** 2 + (z - 25) ** 2 < 10**2) * 5
    labels = image_of(ball, spacing=(0.8, 0.8, 1.0))
    target = image_of(np.zeros((22, 20, 20)), spacing=(2.1, 2.2, 2.5), origin=(-1.3, 0.4, 0.7))
    array, accounts, _ = propagated(labels, target)
    assert accounts[5].mapped_ml == pytest.approx(accounts[5].source_ml, rel=0.02)
    assert accounts[5].written_ml == pytest.approx(accounts[5].mapped_ml, abs=2.1 * 2.2 * 2.5 / 1000)
    assert accounts[5].written_ml == pytest.approx(np.sum(array == 5) * 2.1 * 2.2 * 2.5 / 1000)


def test_expansion_shows_in_the_mapped_volume():
    labels = image_of(clots())
    scale = sitk.AffineTransform(3)
    scale.Scale(0.5)  # target twice as large
    target = image_of(np.zeros((62, 66, 70)))
    _, accounts, _ = propagated(labels, target, scale)
    assert accounts[3].mapped_ml == pytest.approx(8 * accounts[3].source_ml, rel=0.01)


def test_a_clot_outside_the_target_is_reported_as_lost():
    target = image_of(np.zeros((12, 32, 34)))
    array, accounts, _ = propagated(image_of(clots()), target)
    assert set(np.unique(array)) == {0, 3}
    assert accounts[7].written_ml == accounts[300].written_ml == 0


def test_the_larger_share_wins_a_voxel():
    array = np.zeros((10, 10, 10), np.uint16)
    array[4:6, 4:6, 1:5], array[4:6, 4:6, 5:10] = 1, 2  # meet in the middle of a target voxel, 3 to 2
    target = image_of(np.zeros((5, 5, 2)), spacing=(5.0, 2.0, 2.0), origin=(4.0, 0.5, 0.5))
    result, _, _ = propagated(image_of(array), target)
    assert result[2, 2].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("fraction", "kept"),
    [
        ([0.0, 0.0, 0.0], []),
        ([0.1, 0.2, 0.0], [1]),
        ([1.0, 0.4, 0.4], [0, 1]),
        ([0.4, 0.4, 0.4, 0.4, 0.4], [0, 1]),
        ([1.0, 1.0, 0.2], [0, 1]),
    ],
)
def test_the_fullest_voxels_add_up_to_the_volume(fraction, kept):
    assert np.flatnonzero(fullest(np.array(fraction, np.float32))).tolist() == kept
