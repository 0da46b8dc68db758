"""How a chest stands: real chests and phantoms as they are, mirrored along each axis, and turned."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.blood import averaged
from cpmn.checks.body import check_body
from cpmn.checks.finding import Finding
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import read_image

CHESTS = {"A0001": "lung_pet_ct_dx/A0001/5mm_B", "A0002": "lung_pet_ct_dx/A0002/B40f", "cip": "cip/ct-64Dicom"}
AXES = {"left and right": 0, "front and back": 1, "head and feet": 2}
TOLD_BY = {"left and right": "heart_left", "front and back": "spine_behind", "head and feet": "head_up"}


@cache
def read(path: Path, phase: str = "nct") -> sitk.Image:
    image = read_scan(path, patient="p", phase=phase, series_uid="", config=ConvertConfig())[0]
    return sitk.BinShrink(image, [max(1, round(2 / s)) for s in image.GetSpacing()])


def findings_of(image: sitk.Image) -> list[Finding]:
    return check_body(image, averaged(image))


def warned(image: sitk.Image) -> list[str]:
    return [finding.check for finding in findings_of(image) if finding.outcome != "passed"]


def mirrored(image: sitk.Image, axis: int) -> sitk.Image:
    """The voxels in the other order along an axis, under the same header."""
    return sitk.Flip(image, [axis == i for i in range(3)], False)


def turned(image: sitk.Image, first: int, second: int) -> sitk.Image:
    """A quarter turn in the plane of two axes, under a header that knows nothing of it."""
    order = [0, 1, 2]
    order[first], order[second] = order[second], order[first]
    array = sitk.GetArrayFromImage(mirrored(image, first)).transpose([2 - axis for axis in order[::-1]])
    result = sitk.GetImageFromArray(np.ascontiguousarray(array))
    result.SetSpacing([image.GetSpacing()[axis] for axis in order])
    return result


@pytest.mark.real_data
@pytest.mark.parametrize("name", CHESTS)
def test_a_real_chest_stands_as_it_says(real_data, name):
    findings = findings_of(read(real_data / CHESTS[name]))
    assert [(finding.check, finding.outcome) for finding in findings] == [
        (check, "passed") for check in ("lung_size", "spine_behind", "head_up", "heart_left")
    ]


@pytest.mark.real_data
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", CHESTS)
def test_a_mirrored_chest_is_told(real_data, name, axis):
    """TotalSegmentator 31 and 229, nnU-Net 1956, ITK-SNAP 87: files mirrored along one axis, and nothing said so."""
    assert warned(mirrored(read(real_data / CHESTS[name]), AXES[axis])) == [TOLD_BY[axis]]


@pytest.mark.real_data
@pytest.mark.parametrize("plane", [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)])
@pytest.mark.parametrize("name", CHESTS)
def test_a_turned_chest_is_told(real_data, name, plane):
    """TotalSegmentator 78: a patient not on the back."""
    assert set(warned(turned(read(real_data / CHESTS[name]), *plane))) & {"spine_behind", "head_up"}


@pytest.mark.parametrize("phase", ["nct", "ctpa"])
def test_a_phantom_stands_as_it_says_and_mirrored_does_not(phantom, phase):
    image = read(phantom / phase, phase)
    assert warned(image) == []
    assert {axis: warned(mirrored(image, AXES[axis])) for axis in AXES} == {
        axis: [check] for axis, check in TOLD_BY.items()
    }


@pytest.mark.real_data
def test_half_a_chest_is_not_asked_for_sides(real_data):
    image = sitk.DICOMOrient(read_image(real_data / "hemithorax_pair/3DCT_lung_baseline_small.mha"), "LPS")
    assert [finding.check for finding in findings_of(image)] == ["lung_size", "spine_behind"]
    assert warned(image) == []


@pytest.mark.real_data
@pytest.mark.parametrize("wrong", [(0.84, 0.84, 12.0), (0.4, 0.4, 5.0), (2.0, 2.0, 5.0)])
def test_wrong_voxel_sizes_are_told_by_lungs_of_no_human_size(real_data, wrong):
    right = read_scan(real_data / CHESTS["A0001"], patient="p", phase="nct", series_uid="", config=ConvertConfig())[0]
    right.SetSpacing(wrong)
    assert "lung_size" in warned(right)


@pytest.mark.real_data
def test_a_child_s_chest_raises_no_alarm(real_data):
    """An adult's chest at 0.43 of its size: lungs of 480 mL, and a trachea too narrow to be seen."""
    child = sitk.Image(read(real_data / CHESTS["A0001"]))
    child.SetSpacing([0.43 * s for s in child.GetSpacing()])
    assert warned(child) == []


def test_without_lungs_nothing_is_asked():
    assert findings_of(sitk.Image(50, 50, 50, sitk.sitkInt16)) == []
