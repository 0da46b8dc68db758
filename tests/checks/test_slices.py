"""Breath-holds that interleave or are stacked, seen by the image alone."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.checks.slices import LOOK_MM, largest_jump, levels_agree, slices_agree
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import read_image


def read(path, phase="nct"):
    return read_scan(path, patient="p", phase=phase, series_uid="", config=ConvertConfig())[0]


def thinned(image: sitk.Image) -> tuple[np.ndarray, tuple[float, ...]]:
    """Slices (z, y, x) in pixels of about 4 mm, as the check averages them, and the spacing."""
    x, y, z = image.GetSpacing()
    every = max(1, round(LOOK_MM / x))
    return sitk.GetArrayFromImage(image)[:, ::every, ::every].astype(np.float32), (x * every, y * every, z)


def breathed(hu: np.ndarray, step_mm: float, mm: float) -> np.ndarray:
    """The chest after a breath: moved by `mm` at the feet's end, by nothing at the head's."""
    places = np.arange(len(hu))
    moved = np.clip(places + mm / step_mm * (1 - places / (len(hu) - 1)), 0, len(hu) - 1)
    low = moved.astype(int)
    share = (moved - low)[:, None, None]
    return (1 - share) * hu[low] + share * hu[np.minimum(low + 1, len(hu) - 1)]


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


@pytest.mark.parametrize("mm", [40.0, 30.0, -20.0])
@pytest.mark.parametrize("phase", ["nct", "ctpa"])
def test_a_lower_third_of_another_breath(phantom, phase, mm):
    """A single step that stands out, whether anatomy is shown twice or left out."""
    hu, spacing = thinned(read(phantom / phase, phase))
    third = len(hu) // 3
    hu[:third] = breathed(hu, spacing[2], mm)[:third]
    assert outcome(hu, spacing) == "warned"


def test_the_flat_face_of_an_effusion_is_no_jump(phantom):
    """Water fills the back of a lung up to one slice: a step three times as large as others, in one place alone."""
    hu, spacing = thinned(read(phantom / "nct"))
    half, back, side = len(hu) // 2, hu.shape[1] // 2, hu.shape[2] // 2
    water = np.zeros_like(hu, dtype=bool)
    water[:half, back:, :side] = hu[:half, back:, :side] < -700
    assert outcome(np.where(water, 10, hu), spacing) == "passed"


@pytest.mark.parametrize(("share", "jump"), [(1.0, 3.0), (0.75, 3.0), (0.25, 1.0)])
def test_a_jump_is_what_half_of_the_slice_shows(share, jump):
    """Slices in steps of 20 HU, and over one gap of 60 HU in a share of their pieces."""
    slices = np.cumsum(np.full((20, 32, 32), 20.0), axis=0)
    slices[12:, : round(32 * share)] += 40.0
    assert largest_jump(slices, (4.0, 4.0))[0] == pytest.approx(jump)


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


def level_of(hu: np.ndarray, spacing: tuple[float, ...]) -> str:
    image = sitk.GetImageFromArray(np.clip(np.rint(hu), -1024, 32767).astype(np.int16))
    image.SetSpacing(spacing)
    (finding,) = levels_agree(image)
    return finding.outcome


@pytest.mark.parametrize("place", [0, 7, -1])
@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(1, -1024, "passed"), (1, -1000, "warned"), (1, 0, "refused"), (1.1, -1024, "refused"), (2, -1024, "refused")],
)
@pytest.mark.parametrize("phase", ["nct", "ctpa"])
def test_one_slice_of_another_slope_or_intercept(phantom, phase, slope, intercept, expected, place):
    hu, spacing = thinned(read(phantom / phase, phase))
    hu[place] = (hu[place] + 1024) * slope + intercept
    assert level_of(hu, spacing) == expected


def test_half_a_scan_of_another_intercept(phantom):
    hu, spacing = thinned(read(phantom / "nct"))
    hu[: len(hu) // 2] += 30
    assert level_of(hu, spacing) == "warned"


@pytest.mark.parametrize("name", ["cip/ct-64.nrrd", "pulmonary_artery_cta/ct_cropped.nii.gz"])
def test_real_chests_have_one_scale(real_data, name):
    (finding,) = levels_agree(sitk.DICOMOrient(read_image(real_data / name), "LPS"))
    assert finding.outcome == "passed"


def test_small_images_are_not_asked():
    image = sitk.Image([8, 6, 30], sitk.sitkInt16)
    assert slices_agree(image) == []
    assert levels_agree(image) == []
    assert levels_agree(sitk.Image([200, 200, 1], sitk.sitkInt16)) == []


def test_a_blank_slice_at_an_end_says_nothing_of_the_scale(phantom):
    hu, spacing = thinned(read(phantom / "nct"))
    hu[-1] = -1024
    assert level_of(hu, spacing) == "passed"
    hu[2] += 1000
    assert level_of(hu, spacing) == "refused"
