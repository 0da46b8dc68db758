"""The artery/vein ratio: answers worked out by hand, what leaves it alone, and each bad mask's message."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.artery_vein import ARTERY, PRIOR_ML, VEIN, artery_vein_ratio, read_vessels
from cpmn.errors import PatientError
from cpmn.volume.images import image_like, write_image

VOXEL_ML = 0.1


def chest() -> np.ndarray:
    """Arteries of 40 voxels, 4 mL, and veins of 20, 2 mL."""
    vessels = np.zeros((4, 10, 10), np.uint8)
    vessels[1, :4], vessels[2, :2] = ARTERY, VEIN
    return vessels


def marked(arteries: int, veins: int, elsewhere: int = 0) -> np.ndarray:
    """So many marked voxels in each part of `chest`."""
    marks = np.zeros((4, 10, 10), np.uint16)
    marks[1].flat[:arteries], marks[2].flat[:veins], marks[3].flat[:elsewhere] = 7, 7, 7
    return marks


@pytest.mark.parametrize(
    ("arteries", "veins", "ratio"),
    [
        (0, 0, 1.0),  # no mark speaks for neither
        (4, 2, 1.0),  # a tenth of both: what a method does that cannot tell them apart
        (10, 0, (0.25 + 0.05) / 0.05),  # 1 of 4 mL; PRIOR_ML over 6 mL is 0.05
        (0, 10, 0.05 / (0.5 + 0.05)),
        (40, 20, 1.0),
    ],
)
def test_known_answers(arteries, veins, ratio):
    assert PRIOR_ML == 0.3
    assert artery_vein_ratio(marked(arteries, veins), chest(), VOXEL_ML) == pytest.approx(ratio)


@pytest.mark.parametrize("missing", [ARTERY, VEIN])
def test_undefined_without_arteries_or_veins(missing):
    vessels = np.where(chest() == missing, 0, chest())
    assert math.isnan(artery_vein_ratio(marked(5, 5), vessels, VOXEL_ML))


def test_exchanging_arteries_and_veins_inverts_it():
    vessels = chest()
    exchanged = np.where(vessels == ARTERY, VEIN, np.where(vessels == VEIN, ARTERY, 0))
    ratio = artery_vein_ratio(marked(9, 3), vessels, VOXEL_ML)
    assert artery_vein_ratio(marked(9, 3), exchanged, VOXEL_ML) == pytest.approx(1 / ratio)


def test_marks_in_arteries_raise_it_marks_in_veins_lower_it_others_leave_it():
    def ratio(*counts: int) -> float:
        return artery_vein_ratio(marked(*counts), chest(), VOXEL_ML)

    assert np.all(np.diff([ratio(count, 3) for count in range(41)]) > 0)
    assert np.all(np.diff([ratio(5, count) for count in range(21)]) < 0)
    assert ratio(5, 3, 50) == ratio(5, 3)


def test_finer_voxels_and_turned_axes_leave_it():
    marks, vessels = marked(9, 3), chest()
    ratio = artery_vein_ratio(marks, vessels, VOXEL_ML)
    fine_marks, fine_vessels = (np.kron(array, np.ones((2, 2, 2), array.dtype)) for array in (marks, vessels))
    assert artery_vein_ratio(fine_marks, fine_vessels, VOXEL_ML / 8) == pytest.approx(ratio)
    assert artery_vein_ratio(marks.transpose(2, 0, 1), vessels.transpose(2, 0, 1), VOXEL_ML) == ratio


def image(array: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((2.0, 2.0, 3.0))
    return made


NCT = image(np.zeros((4, 10, 10), np.int16))


def test_mask_is_read_onto_the_grid_of_the_nct_however_its_axes_run(tmp_path):
    path = tmp_path / "vessels.nii.gz"
    for given in (image(chest()), image(chest().astype(np.float32)), sitk.DICOMOrient(image(chest()), "RAS")):
        write_image(given, path)
        found = read_vessels("p1", path, NCT)
        assert np.array_equal(sitk.GetArrayFromImage(found), chest())
        assert found.GetPixelID() == sitk.sitkUInt8


def changed(index: tuple, value: float) -> np.ndarray:
    array = chest().astype(np.float32)
    array[index] = value
    return array


BAD = {
    "grid": (image(chest()[:3]), r"the vessel mask is 10x10x3 voxels .*, the non-contrast CT is 10x10x4 voxels"),
    "unknown value": (image(changed((3, 0, 0), 3)), r"the vessel mask holds the values 0, 1, 2, 3 \(.*Give 0 for back"),
    "no whole number": (image(changed((3, 0, 0), 0.5)), r"the vessel mask holds the values 0, 0\.5, 1, 2 \("),
    "no veins": (image(changed((2,), 0)), r"holds the values 0, 1 \(.* both must be there"),
    "empty": (image(0 * chest()), r"holds the values 0 \(.* both must be there"),
    "a scan": (image_like(np.arange(400).reshape(4, 10, 10), NCT), r"holds the values 0, 1, 2, 3, 4, 5, \.\.\. "),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_mask_that_cannot_be_right_is_refused(tmp_path, kind):
    given, message = BAD[kind]
    write_image(given, tmp_path / "vessels.nii.gz")
    with pytest.raises(PatientError, match=message) as raised:
        read_vessels("p1", tmp_path / "vessels.nii.gz", NCT)
    assert "patient p1" in str(raised.value)


def test_a_missing_mask(tmp_path):
    with pytest.raises(PatientError, match=r"the vessel mask cannot be read: image file .*gone.nii.gz does not exist"):
        read_vessels("p1", tmp_path / "gone.nii.gz", NCT)
