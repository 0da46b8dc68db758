import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from cpmn.anatomy.vessels import lung_vessels
from cpmn.config.train.loss import LossConfig
from cpmn.train.subjects import working_label
from cpmn.train.visibility import clot_visibility, label_weight, visibility_map


def scan(spacing=(2.0, 2.0, 2.0)) -> tuple[sitk.Image, sitk.Image]:
    """Blood of 45 HU with clot 3 at +10 HU, clot 7 at +40 HU and clot 9 that nobody sees."""
    nct, ids = np.full((12, 24, 40), 45.0, np.float32), np.zeros((12, 24, 40), np.uint8)
    for clot, x, contrast in ((3, 4, 10), (7, 18, 40), (9, 32, 0)):
        ids[4:8, 10:14, x : x + 4] = clot
        nct[ids == clot] += contrast
    images = (sitk.GetImageFromArray(nct), sitk.GetImageFromArray(ids))
    for image in images:
        image.SetSpacing(spacing)
    return images


def test_visibility_of_known_contrasts():
    assert clot_visibility(*scan(), 20.0) == pytest.approx({3: 0.5, 7: 1.0, 9: 0.0})


def test_darker_clots_are_visible_too():
    nct, embolus = scan()
    assert clot_visibility(90 - nct, embolus, 20.0) == pytest.approx({3: 0.5, 7: 1.0, 9: 0.0})


def test_lung_under_a_carried_label_hides_no_contrast():
    """A quarter of each clot lies on lung, as labels do that registration has moved by a voxel."""
    nct, embolus = scan()
    hu, ids = sitk.GetArrayFromImage(nct), sitk.GetArrayFromImage(embolus)
    hu[4:8, 13] = -850
    shifted = sitk.GetImageFromArray(hu)
    shifted.CopyInformation(nct)
    assert ids[4:8, 13].any()
    assert clot_visibility(shifted, embolus, 20.0) == pytest.approx({3: 0.5, 7: 1.0, 9: 0.0})


def test_a_label_on_lung_alone_is_invisible():
    nct, embolus = scan()
    assert clot_visibility(nct * 0 - 850, embolus, 20.0) == {3: 0.0, 7: 0.0, 9: 0.0}


def test_visibility_rises_between_the_two_limits():
    assert clot_visibility(*scan(), visible_hu=15.0, invisible_hu=5.0) == pytest.approx({3: 0.5, 7: 1.0, 9: 0.0})
    with pytest.raises(ValueError, match="invisible_hu must be below visible_hu, 15"):
        LossConfig(invisible_hu=15.0, visible_hu=15.0)


def test_a_clot_without_blood_round_it_is_compared_with_blood_in_general():
    nct, ids = np.full((8, 8, 8), -850.0, np.float32), np.zeros((8, 8, 8), np.uint8)
    ids[3:5, 3:5, 3:5] = 1
    nct[ids > 0] = 55
    assert clot_visibility(sitk.GetImageFromArray(nct), sitk.GetImageFromArray(ids), 20.0) == {1: 0.5}


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 3.0, 3.0)])
def test_every_clot_voxel_of_the_working_grid_gets_its_clots_visibility(spacing):
    nct, embolus = scan()
    mask = working_label(embolus, spacing)
    seen = visibility_map(nct, embolus, mask, spacing, LossConfig())
    assert seen.shape == mask.shape
    assert set(np.unique(seen[mask > 0])) == {0, 128, 255}
    border = (ndimage.grey_dilation(seen * (mask > 0), (3, 3, 3)) > 0) & (mask == 0)
    assert border.any()
    assert set(np.unique(seen[border])) <= {0, 128, 255}  # a rim that rotation adds to a clot is seen as it is


def test_no_clot_no_visibility():
    nct, embolus = scan()
    nothing = np.zeros((12, 24, 40), np.uint8)
    assert not visibility_map(nct, embolus * 0, nothing, (2, 2, 2), LossConfig()).any()


def test_weights_lie_between_the_floor_and_one():
    weights = label_weight(np.array([0, 255, 51, 0], np.uint8), np.array([True, True, True, False]), 0.5)
    assert weights.tolist() == pytest.approx([0.5, 1.0, 0.6, 1.0])


def test_lung_vessels_are_inside_the_lungs_and_free_of_clot():
    nct, lung, clot = (np.zeros((20, 40, 40), kind) for kind in (np.int16, np.uint8, np.uint8))
    nct[:], lung[4:16, 8:32, 8:32] = 45, 1  # chest wall of blood's HU around the lungs
    nct[lung > 0] = -850
    vessel = np.zeros_like(lung, bool)
    vessel[4:16, 18:23, 18:23] = True
    nct[vessel], lung[vessel], clot[8:10, 19:21, 19:21] = 45, 0, 1
    found = lung_vessels(nct, lung, clot, (2.0, 2.0, 2.0))
    assert found[6:14, 20, 20].tolist() == [True, True, False, False, True, True, True, True]
    assert not (found & ~vessel).any()
    assert not (found & (clot > 0)).any()


@pytest.mark.parametrize("width", [2, 3, 4])
def test_small_arteries_in_lung_are_vessels_too(width):
    nct, lung = np.full((12, 30, 30), -850, np.int16), np.ones((12, 30, 30), np.uint8)
    nct[:, 12 : 12 + width, 12 : 12 + width] = 50
    noisy = nct + np.random.default_rng(0).normal(0, 15, nct.shape)
    found = lung_vessels(noisy, lung, np.zeros_like(lung), (1.5, 1.5, 3.0))
    assert found[:, 12 : 12 + width, 12 : 12 + width].mean() > 0.8
    assert not found[nct < 0].any()
