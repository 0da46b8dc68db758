"""Geometry helpers."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.errors import CpmnError
from cpmn.volume.images import describe_grid, image_like, read_image, same_grid, voxel_ml, write_image


def volume(size=(4, 5, 6), spacing=(1.0, 2.0, 3.0), origin=(10.0, -20.0, 30.0)):
    image = sitk.Image(size, sitk.sitkInt16)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def test_round_trip_keeps_geometry_and_values_and_drops_free_text(tmp_path):
    image = image_like(np.arange(120, dtype=np.int16).reshape(6, 5, 4), volume())
    image.SetMetaData("0010|0010", "DOE^JANE")
    image.SetMetaData("descrip", "DOE^JANE")
    write_image(image, tmp_path / "a.nii.gz")
    back = read_image(tmp_path / "a.nii.gz")
    assert same_grid(image, back)
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(back))
    assert not any("DOE" in back.GetMetaData(key) for key in back.GetMetaDataKeys())


def test_compressed_files_repeat_to_the_byte_and_leave_nothing_beside_them(tmp_path):
    noise = image_like(np.random.default_rng(0).integers(-1000, 1000, (6, 5, 4)).astype(np.int16), volume())
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(noise, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.nii.gz", "b.nii.gz"}
    by_another_reader = np.asarray(nibabel.Nifti1Image.from_filename(tmp_path / "a.nii.gz").dataobj)
    assert np.array_equal(by_another_reader.T, sitk.GetArrayFromImage(noise))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (volume(), True),
        (volume(origin=(10.0005, -20, 30)), True),
        (volume(origin=(10.01, -20, 30)), False),
        (volume(size=(4, 5, 7)), False),
        (volume(spacing=(1, 2, 3.1)), False),
    ],
)
def test_same_grid(other, same):
    assert same_grid(volume(), other) is same


def test_grid_of_other_direction_is_another():
    turned = volume()
    turned.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    assert not same_grid(volume(), turned)


def test_voxel_volume_and_description():
    assert voxel_ml(volume()) == pytest.approx(0.006)
    assert describe_grid(volume()) == "4x5x6 voxels of 1x2x3 mm from (10.0, -20.0, 30.0)"


def test_unreadable_images_are_named(tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(b"not an image")
    with pytest.raises(CpmnError, match=r"bad\.nii\.gz cannot be read"):
        read_image(tmp_path / "bad.nii.gz")
    with pytest.raises(CpmnError, match=r"gone\.nii\.gz does not exist"):
        read_image(tmp_path / "gone.nii.gz")
    sitk.WriteImage(sitk.Image((4, 4), sitk.sitkInt16), str(tmp_path / "flat.nii.gz"))
    with pytest.raises(CpmnError, match="not a 3D volume"):
        read_image(tmp_path / "flat.nii.gz")
