"""Breath-holds that interleave or are stacked, seen by the image alone."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from cpmn.checks.slices import slices_agree
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import read_image

EVERY = 4  # in-plane, as the check averages


def read(path, phase="nct"):
    return read_scan(path, patient="p", phase=phase, series_uid="", config=ConvertConfig())[0]


def thinned(image: sitk.Image) -> tuple[np.ndarray, tuple[float, ...]]:
    x, y, z = image.GetSpacing()
    return sitk.GetArrayFromImage(image)[:, ::EVERY, ::EVERY].astype(np.float32), (x * EVERY, y * EVERY, z)


def breathed(hu: np.ndarray, step_mm: float, mm: float) -> np.ndarray:
    """The chest after a breath: moved by `mm` at the feet's end, by nothing at the head's."""
    places = np.arange(len(hu))
    moved = np.clip(places + mm / step_mm * (1 - places / (len(hu) - 1)), 0, len(hu) - 1)
    return np.stack([ndimage.shift(hu, (-(to - at), 0, 0), order=1, mode="nearest")[at] for at, to in enumerate(moved)])


def outcome(hu: np.ndarray, spacing: tuple[float, ...]) -> str:
    image = sitk.GetImageFromArray(np.rint(hu).astype(np.int16))
    image.SetSpacing(spacing)
    (finding,) = slices_agree(image)
    return finding.outcome


@pytest.mark.parametrize("phase", ["nct", "ctpa"])
def test_a_phantom_s_breath_holds(phantom, phase):
    hu, spacing = thinned(read(phantom / phase, phase))
    mixed = hu.copy()
    mixed[1::2] = breathed(hu, spacing[2], 20.0)[1::2]
    assert outcome(hu, spacing) == "passed"
    assert outcome(mixed, spacing) == "refused"


def test_a_lower_third_of_another_breath(phantom):
    """A single step that stands out; on coarse or smooth scans it does not always (see `slices_agree`)."""
    hu, spacing = thinned(read(phantom / "nct"))
    third = len(hu) // 3
    hu[:third] = breathed(hu, spacing[2], 40.0)[:third]
    assert outcome(hu, spacing) == "warned"


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["lung_pet_ct_dx/A0001", "lung_pet_ct_dx/A0002", "cip/ct-64Dicom"])
def test_real_chests_pass(real_data, name):
    (finding,) = slices_agree(read(real_data / name))
    assert finding.outcome == "passed"


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["hemithorax_pair/3DCT_lung.mha", "pulmonary_artery_cta/ct_cropped.nii.gz"])
def test_real_parts_of_chests_pass(real_data, name):
    (finding,) = slices_agree(sitk.DICOMOrient(read_image(real_data / name), "LPS"))
    assert finding.outcome == "passed"


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["lung_pet_ct_dx/A0001", "cip/ct-64Dicom"])
def test_real_chests_with_a_second_breath_between_their_slices(real_data, name):
    hu, spacing = thinned(read(real_data / name))
    hu[1::2] = breathed(hu, spacing[2], 20.0)[1::2]
    assert outcome(hu, spacing) == "refused"


def test_small_images_are_not_asked():
    image = sitk.Image([8, 6, 30], sitk.sitkInt16)
    assert slices_agree(image) == []
