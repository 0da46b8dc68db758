"""Values that are no HU, and geometry that is a default: known errors made on real chests and phantoms."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.blood import averaged
from cpmn.checks.finding import Finding
from cpmn.checks.image import check_hounsfield, check_image, check_stated_geometry, find_peaks
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import AIR_HU, image_like

CHESTS = ("lung_pet_ct_dx/A0001/5mm_B", "lung_pet_ct_dx/A0002/B40f", "cip/ct-64Dicom")


@cache
def read(path: Path, phase: str = "nct") -> sitk.Image:
    image = read_scan(path, patient="p", phase=phase, series_uid="", config=ConvertConfig())[0]
    return sitk.BinShrink(image, [max(1, round(2 / s)) for s in image.GetSpacing()])


def changed(image: sitk.Image, change) -> sitk.Image:
    return image_like(np.rint(np.maximum(change(sitk.GetArrayFromImage(image).astype(float)), AIR_HU)), image)


def hounsfield(image: sitk.Image) -> Finding:
    return check_hounsfield(averaged(image))


def window(hu: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip(hu, low, high)


WRONG = {
    "intercept left out (0 to 4095)": lambda hu: hu + 1024,
    "densities in mg/mL": lambda hu: hu + 1000,
    "intercept applied twice": lambda hu: hu - 1024,
    "slope of 2 for 1": lambda hu: 2 * (hu + 1024) - 1024,
    "slope of 1/2 for 1": lambda hu: (hu + 1024) / 2 - 1024,
    "values doubled": lambda hu: 2 * hu,
    "values halved": lambda hu: hu / 2,
    "a soft-tissue window in HU": lambda hu: window(hu, -160, 240),
    "the same in 8 bits": lambda hu: (window(hu, -160, 240) + 160) * 255 / 400,
    "a lung window in 8 bits": lambda hu: (window(hu, -1350, 150) + 1350) * 255 / 1500,
    "8 bits of all values": lambda hu: (hu + 1024) / 16,
    "from 0 to 1, times 1000 (TotalSegmentator 509: normalised)": lambda hu: (window(hu, -1000, 1000) + 1000) / 2,
    "inverted (MONOCHROME1 taken for MONOCHROME2)": lambda hu: 1023 - hu,
}
FINE = {
    "as measured": lambda hu: hu,
    "intercept of -1000 for -1024": lambda hu: hu + 24,
    "air beyond -1000 cut off": lambda hu: np.maximum(hu, -1000),
    "bone cut off at 400 HU": lambda hu: np.minimum(hu, 400),
    "padding of -1024 around": lambda hu: np.where(hu < -990, -1024, hu),
    "noise of 30 HU": lambda hu: hu + np.random.default_rng(0).normal(0, 30, hu.shape),
}


@pytest.mark.real_data
@pytest.mark.parametrize("chest", CHESTS)
@pytest.mark.parametrize("error", WRONG)
def test_values_that_are_no_hu_are_refused(real_data, chest, error):
    finding = hounsfield(changed(read(real_data / chest), WRONG[error]))
    assert finding.outcome == "refused"
    assert "the values are no Hounsfield units: the darkest 0.5 % of the image lie below" in finding.seen


@pytest.mark.real_data
@pytest.mark.parametrize("chest", CHESTS)
@pytest.mark.parametrize("variant", FINE)
def test_hu_pass(real_data, chest, variant):
    assert hounsfield(changed(read(real_data / chest), FINE[variant])).outcome == "passed"


@pytest.mark.parametrize("phase", ["nct", "ctpa"])
def test_a_phantom_in_hu_passes_and_with_any_error_does_not(phantom, phase):
    image = read(phantom / phase, phase)
    assert {finding.outcome for finding in check_image(image, {"source": "dicom"})} == {"passed"}
    passed = [error for error in WRONG if hounsfield(changed(image, WRONG[error])).outcome == "passed"]
    assert passed == []


@pytest.mark.parametrize("levels", [4, 1000])
def test_peaks_are_those_of_scipy(levels):
    """With four levels most maxima are flat, and many as high as others."""
    import scipy.signal

    random = np.random.default_rng(levels)
    for _ in range(1000):
        values = random.integers(0, levels, random.integers(1, 60)).astype(float)
        prominence = float(random.integers(0, levels))
        expected, _ = scipy.signal.find_peaks(values, prominence=prominence)
        assert find_peaks(values, prominence) == expected.tolist()


@pytest.mark.real_data
def test_a_contrast_crop_of_the_heart_passes(real_data):
    scan = read_scan(
        real_data / "pulmonary_artery_cta/ct_cropped.nii.gz",
        patient="p",
        phase="ctpa",
        series_uid="",
        config=ConvertConfig(),
    )[0]
    findings = check_image(scan, {"source": "image file"})
    assert [(finding.check, finding.outcome) for finding in findings] == [
        ("geometry", "passed"),
        ("hounsfield", "passed"),
    ]


def grid(spacing, origin=(0.0, 0.0, 0.0)) -> sitk.Image:
    image = sitk.Image(4, 5, 6, sitk.sitkInt16)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "SPR"])
def test_default_geometry_is_refused_however_its_axes_were_turned(axes):
    turned = sitk.DICOMOrient(grid((1, 1, 1)), axes)
    assert check_stated_geometry(turned).outcome == "refused"
    assert check_image(turned, {"source": "dicom"}) == []


@pytest.mark.parametrize(("spacing", "origin"), [((1, 1, 1), (-170, -160, 20)), ((0.7, 0.7, 1), (0, 0, 0))])
def test_real_geometry_passes(spacing, origin):
    assert check_stated_geometry(grid(spacing, origin)).outcome == "passed"
