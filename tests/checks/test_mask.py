"""Masks that lie elsewhere than their scan, and masks of something else; sources are public bug reports."""

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from cpmn.checks.mask import check_mask, check_truth
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.clots import components_of
from cpmn.volume.images import image_like, read_image

MASKS = {"ctpa": "ctpa_mask.nii.gz", "nct": "nct_truth.nii.gz"}


@pytest.fixture(scope="module")
def scans(phantom) -> dict[str, tuple[sitk.Image, np.ndarray]]:
    """Scan and clot ids (z, y, x) of a phantom, by phase."""
    return {phase: _scan(phantom, phase) for phase in MASKS}


def _scan(folder, phase):
    scan, _ = read_scan(folder / phase, patient="p", phase=phase, series_uid="", config=ConvertConfig())
    return scan, sitk.GetArrayFromImage(read_image(folder / MASKS[phase]))


def ask(scan: sitk.Image, labels: np.ndarray, phase: str, **others) -> dict[str, str]:
    """What was said of a mask, outcome by check."""
    findings = check_mask(image_like(labels.astype(np.uint16), scan), scan, phase, **others)
    return {finding.check: finding.outcome for finding in findings}


def moved(labels: np.ndarray, scan: sitk.Image, axis: int, mm: float) -> np.ndarray:
    """Mask moved along an axis (z, y, x)."""
    steps = [0, 0, 0]
    steps[axis] = round(mm / scan.GetSpacing()[2 - axis])
    return ndimage.shift(labels, steps, order=0)


@pytest.mark.parametrize("phase", MASKS)
def test_a_mask_on_its_scan_passes(scans, phase):
    scan, labels = scans[phase]
    found = ask(scan, labels, phase)
    assert set(found.values()) == {"passed"}
    assert ("mask_blood" in found) == (phase == "ctpa")


@pytest.mark.parametrize("phase", MASKS)
@pytest.mark.parametrize(
    ("axes", "said"),
    [
        pytest.param((2,), "mirrored left to right", id="left to right"),  # TotalSegmentator #31
        pytest.param((1, 2), "mirrored front to back and mirrored left to right", id="RAS and LPS"),
        # ^ QIICR/QuantitativeReporting #273: exported SEG flipped along x and y
        pytest.param((0,), "mirrored head to feet", id="head to feet"),  # ITK-SNAP #87, nnU-Net #1956
    ],
)
def test_a_mirrored_mask_does_not_pass_and_how_is_said(scans, phase, axes, said):
    scan, labels = scans[phase]
    mirrored = image_like(np.flip(labels, axes).astype(np.uint16), scan)
    findings = {finding.check: finding for finding in check_mask(mirrored, scan, phase)}
    assert findings["mask_mirrored"].outcome in ("refused", "warned")
    assert findings["mask_mirrored"].seen.endswith(f"% {said}")


def test_a_mask_that_is_stored_with_turned_axes_is_the_same_mask(scans):
    scan, labels = scans["ctpa"]
    mask = sitk.DICOMOrient(image_like(np.flip(labels, 2).astype(np.uint16), scan), "RAS")
    turned = sitk.DICOMOrient(scan, "RAS")
    straight = check_mask(image_like(np.flip(labels, 2).astype(np.uint16), scan), scan, "ctpa")
    assert [one.seen for one in check_mask(mask, turned, "ctpa")] == [one.seen for one in straight]


@pytest.mark.parametrize("phase", MASKS)
@pytest.mark.parametrize(("axis", "mm"), [(0, 30.0), (1, 30.0), (1, -30.0), (2, 30.0), (2, -30.0)])
def test_a_mask_that_is_moved_does_not_pass(scans, phase, axis, mm):  # qurit/rt-utils #114: 120 slices off
    scan, labels = scans[phase]
    assert ask(scan, moved(labels, scan, axis, mm), phase)["mask_tissue"] in ("refused", "warned")


def vessel(shape: tuple[int, int, int] = (20, 40, 40)) -> tuple[sitk.Image, np.ndarray]:
    """Lung of 160 mm with one oblique vessel of soft tissue, and the vessel as a mask."""
    z, y, x = np.indices(shape)
    inside = (np.abs(z - 6) <= 1) & (np.abs(y - 10) <= 2) & (np.abs(x - 15) <= 5)
    scan = sitk.GetImageFromArray(np.where(inside, 40, -850).astype(np.int16))
    scan.SetSpacing((4.0, 4.0, 4.0))
    return scan, inside.astype(np.uint16)


WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "one slice further down": lambda labels: np.roll(labels, 1, 0),
    "one slice further up": lambda labels: np.roll(labels, -1, 0),
    "mirrored front to back": lambda labels: labels[:, ::-1],
    "with rows and columns swapped": lambda labels: labels.swapaxes(1, 2),
    # TotalSegmentator-AIDE #8: a quarter of a turn between the image's axes and the segmentation's
    "mirrored left to right and with rows and columns swapped": lambda labels: np.rot90(labels, 1, (1, 2)),
}


@pytest.mark.parametrize("way", WRONG)
def test_how_a_mask_would_fit_is_named(way):
    scan, labels = vessel()
    wrong = image_like(np.ascontiguousarray(WRONG[way](labels)), scan)
    (finding,) = [one for one in check_mask(wrong, scan, "nct") if one.check == "mask_mirrored"]
    assert finding.outcome == "refused"
    assert finding.seen.endswith(f"100% {way}")


ORGANS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "both lungs": lambda hu: hu < -500,
    "all tissue": lambda hu: (hu > -200) & (hu < 250),
    "the image itself": lambda hu: np.maximum(hu, 0),  # nnU-Net #1007: the labels hold -1024, -1023, ...
}


@pytest.mark.parametrize("organ", ORGANS)
def test_a_mask_of_something_large_is_refused_by_its_volume(scans, organ):
    scan, _ = scans["ctpa"]
    assert ask(scan, ORGANS[organ](sitk.GetArrayFromImage(scan)), "ctpa")["mask_volume"] == "refused"


def test_a_mask_of_the_arteries_is_refused(scans):
    scan, arteries = scans["ctpa"]
    filled = np.where(arteries > 0, 320, sitk.GetArrayFromImage(scan)).astype(np.int16)
    assert ask(image_like(filled, scan), arteries, "ctpa")["mask_blood"] == "refused"


@pytest.mark.parametrize(("hu", "outcome"), [(240, "passed"), (330, "warned"), (400, "refused")])
def test_few_voxels_of_a_clot_in_dense_blood_are_half_rim(hu, outcome):
    """A median of 240 HU is that of a rim where blood has 420, and that of an artery where it has 300."""
    z, y, x = np.indices((30, 40, 40))
    artery = (np.abs(y - 20) < 6) & (np.abs(x - 20) < 6)
    clot = artery & (np.abs(z - 15) < 3) & (np.abs(y - 20) < 2) & (np.abs(x - 20) < 2)
    scan = sitk.GetImageFromArray(np.where(clot, hu, np.where(artery, 420, -850)).astype(np.int16))
    scan.SetSpacing((4.0, 4.0, 4.0))
    (finding,) = [
        one for one in check_mask(image_like(clot.astype(np.uint8), scan), scan, "ctpa") if one.check == "mask_blood"
    ]
    assert finding.outcome == outcome


def test_clots_far_from_opacified_blood_are_doubtful(scans):
    scan, _ = scans["ctpa"]
    hu = sitk.GetArrayFromImage(scan)
    muscle = np.zeros_like(hu, dtype=np.uint16)
    far = np.asarray(ndimage.distance_transform_edt(hu < 100, sampling=scan.GetSpacing()[::-1])) > 15
    where = np.argwhere(far & (hu > -150) & (hu < 90))[:200]
    muscle[tuple(where.T)] = 1
    assert ask(scan, muscle, "ctpa")["mask_blood"] == "warned"


def soft(labels: np.ndarray, levels: int) -> np.ndarray:
    """A probability map as grey levels, as 8-bit files hold it."""
    return np.rint(ndimage.gaussian_filter((labels > 0).astype(float), 1.0) * levels).astype(np.uint16)


def test_grey_levels_are_no_clot_ids(scans):  # nnU-Net #2404: labels of 0 to 255 from a grey picture
    scan, labels = scans["ctpa"]
    assert ask(scan, soft(labels, 255), "ctpa")["mask_clots"] == "refused"


def test_one_value_is_said_to_be_split(scans):
    scan, labels = scans["ctpa"]
    pieces = components_of(labels).max()
    for value in (1, 255):  # nnU-Net #1247 and #1777: 255 for 1
        mask = image_like((value * (labels > 0)).astype(np.uint16), scan)
        seen = {finding.check: finding.seen for finding in check_mask(mask, scan, "ctpa")}
        assert seen["mask_clots"] == f"the mask has one value: split into {pieces} clots"


def test_specks_are_doubtful(scans):
    scan, _ = scans["ctpa"]
    specks = np.zeros(scan.GetSize()[::-1], np.uint16)
    specks[::8, ::8, ::8] = 1
    assert ask(scan, specks, "ctpa")["mask_clots"] == "warned"


def test_another_placement_that_fits_better_is_named(scans):
    scan, labels = scans["ctpa"]
    others = {"as drawn": image_like(labels.astype(np.uint16), scan)}
    wrong = image_like(moved(labels, scan, 2, 40.0).astype(np.uint16), scan)
    (finding,) = [one for one in check_mask(wrong, scan, "ctpa", others) if one.check == "mask_mirrored"]
    assert finding.outcome == "refused"
    assert finding.seen.endswith("as drawn")


@pytest.mark.parametrize("voxels", [0, 5])
def test_what_cannot_be_asked_gives_no_finding(scans, voxels):
    scan, _ = scans["nct"]
    labels = np.zeros(scan.GetSize()[::-1])
    labels[0, 0, :voxels] = 1
    assert list(ask(scan, labels, "nct")) == ["mask_volume", "mask_clots"] * bool(voxels)


def test_a_small_image_is_asked_for_volume_and_values_alone():
    scan = sitk.Image([30, 30, 30], sitk.sitkInt16) - 850
    labels = np.ones((30, 30, 30))
    assert list(ask(scan, labels, "ctpa")) == ["mask_volume", "mask_clots"]


@pytest.mark.parametrize(
    ("label", "marked", "outcome"), [(1, True, "passed"), (0, True, "refused"), (1, False, "warned")]
)
def test_a_reference_says_the_same_as_the_label(scans, label, marked, outcome):
    scan, labels = scans["nct"]
    mask = image_like((labels * marked).astype(np.uint16), scan)
    found = {finding.check: finding.outcome for finding in check_truth(mask, scan, label)}
    assert found["mask_label"] == outcome


@pytest.mark.parametrize("phase", MASKS)
def test_a_mask_that_was_drawn_on_the_other_phase_on_the_same_grid(scans, phase):
    """Both scans on one grid, the patient moved by 15 mm between them: the mask fits the scan that it was drawn on."""
    scan, labels = scans[phase]
    other = image_like(moved(sitk.GetArrayFromImage(scan), scan, 1, 15.0), scan)
    mask = image_like(moved(labels, scan, 1, 15.0).astype(np.uint16), scan)
    found = {one.check: one for one in check_mask(mask, scan, phase, other_scan=other)}
    assert found["mask_phase"].outcome == "refused"
    assert f"drawn on the {'CTPA' if phase == 'nct' else 'NCT'}" in found["mask_phase"].remedy


@pytest.mark.parametrize("phase", MASKS)
def test_a_mask_on_its_own_phase_fits_it_better(scans, phase):
    scan, labels = scans[phase]
    other = sitk.Resample(scans["nct" if phase == "ctpa" else "ctpa"][0], scan, sitk.Transform(), sitk.sitkLinear)
    assert ask(scan, labels, phase, other_scan=other)["mask_phase"] == "passed"
    assert "mask_phase" not in ask(scan, labels, phase, other_scan=scans["nct" if phase == "ctpa" else "ctpa"][0])
