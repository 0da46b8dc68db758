"""Boxes: round trips that lose nothing."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmn.errors import CpmnError
from cpmn.volume.box import Box, bounding_box, box_of, crop_image, paste
from cpmn.volume.images import read_image, write_image


def make_image(array: np.ndarray, spacing=(0.7, 0.8, 2.5), origin=(-120.3, 55.1, -301.7)) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    angle = 0.1  # not aligned with the world
    image.SetDirection([np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1])
    return image


@st.composite
def boxes(draw):
    native = tuple(draw(st.integers(1, 12)) for _ in range(3))
    start = tuple(draw(st.integers(0, n - 1)) for n in native)
    size = tuple(draw(st.integers(1, n - i)) for n, i in zip(native, start, strict=True))
    return Box(start, size, native)


@settings(max_examples=100, deadline=None)
@given(box=boxes(), fill=st.integers(-5, 5), seed=st.integers(0, 99))
def test_crop_then_paste_is_exact(box, fill, seed):
    array = np.random.default_rng(seed).integers(-1024, 3000, box.native_size[::-1]).astype(np.int16)
    image = make_image(array)
    crop = crop_image(image, box)
    assert box_of(crop, image) == box
    assert np.array_equal(sitk.GetArrayFromImage(crop), array[box.slices])
    back = sitk.GetArrayFromImage(paste(crop, image, fill))
    assert np.array_equal(back[box.slices], array[box.slices])
    outside = np.ones(array.shape, bool)
    outside[box.slices] = False
    assert (back[outside] == fill).all()


def test_crop_keeps_its_place_through_a_nifti_file(tmp_path):
    image = make_image(np.arange(7 * 9 * 11, dtype=np.int16).reshape(7, 9, 11))
    box = Box((3, 2, 1), (5, 4, 6), (11, 9, 7))
    write_image(image, tmp_path / "native.nii.gz")
    write_image(crop_image(image, box), tmp_path / "crop.nii.gz")
    crop, native = read_image(tmp_path / "crop.nii.gz"), read_image(tmp_path / "native.nii.gz")
    assert box_of(crop, native) == box
    assert paste(crop, native).GetPixelID() == sitk.sitkInt16


def test_bounding_box_with_margin_in_mm():
    mask = np.zeros((20, 30, 40), np.uint8)
    mask[5:8, 10:12, 30:39] = 1
    image = make_image(mask, spacing=(1.0, 2.0, 3.0))
    assert bounding_box(image) == Box((30, 10, 5), (9, 2, 3), (40, 30, 20))
    # 5 mm are 5, 3 and 2 voxels; at the far side of x only one voxel is left
    assert bounding_box(image, 5.0) == Box((25, 7, 3), (15, 8, 7), (40, 30, 20))


def test_json_of_a_box():
    box = Box((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert box.to_json() == {"start": [1, 2, 3], "size": [4, 5, 6], "native_size": [7, 8, 9]}


def test_empty_mask_has_no_box():
    with pytest.raises(CpmnError, match="the mask is empty"):
        bounding_box(make_image(np.zeros((3, 3, 3), np.uint8)))


def test_box_of_another_image():
    box = Box((0, 0, 0), (2, 2, 2), (4, 4, 4))
    with pytest.raises(CpmnError, match="the box is for an image of"):
        crop_image(make_image(np.zeros((5, 4, 4), np.uint8)), box)


@pytest.mark.parametrize("change", ["half a voxel", "spacing", "outside"])
def test_crop_of_another_scan(change):
    native = make_image(np.zeros((6, 6, 6), np.uint8))
    crop = crop_image(native, Box((1, 1, 1), (3, 3, 3), (6, 6, 6)))
    if change == "half a voxel":
        crop.SetOrigin(native.TransformContinuousIndexToPhysicalPoint((1.5, 1, 1)))
    elif change == "spacing":
        crop.SetSpacing((0.7, 0.8, 2.6))
    else:
        crop.SetOrigin(native.TransformIndexToPhysicalPoint((4, 1, 1)))
    with pytest.raises(CpmnError, match="is not a part of the native grid"):
        paste(crop, native)
