"""Real scans: exact against independent readers, and a message for each odd folder."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError

pytestmark = pytest.mark.real_data
CHESTS = ("lung_pet_ct_dx/A0001/5mm_B", "lung_pet_ct_dx/A0002/B40f", "cip/ct-64Dicom", "odd_dicom/jpeg2000_series")


def convert(source: Path, **config):
    return read_scan(source, patient="p1", phase="nct", series_uid="", config=ConvertConfig(**config))


def assert_same_volume(image: sitk.Image, reference: sitk.Image, tolerance_mm: float = 0.01) -> None:
    """Equal HU (reference clipped at -1024) and voxel centres within `tolerance_mm`."""
    assert image.GetSize() == reference.GetSize()
    for corner in ((0, 0, 0), tuple(n - 1 for n in image.GetSize())):
        found, wanted = (i.TransformIndexToPhysicalPoint(corner) for i in (image, reference))
        assert found == pytest.approx(wanted, abs=tolerance_mm)
    expected = np.maximum(sitk.GetArrayFromImage(reference), -1024)
    assert np.array_equal(sitk.GetArrayFromImage(image), expected)


def dcm2niix(source: Path, folder: Path, name: str = "scan.nii") -> sitk.Image:
    """What dcm2niix makes of `source`, in LPS order; the test is skipped where it is not installed."""
    program = shutil.which("dcm2niix")
    if program is None:
        pytest.skip("dcm2niix is not installed")
    command = [program, "-z", "n", "-b", "n", "-f", "scan", "-o", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return sitk.DICOMOrient(sitk.ReadImage(str(folder / name)), "LPS")


def test_chest_equals_its_nrrd(real_data):
    image, facts = convert(real_data / "cip/ct-64Dicom")
    assert_same_volume(image, sitk.ReadImage(str(real_data / "cip/ct-64.nrrd")))
    assert facts["repaired"] == []


@pytest.mark.parametrize("name", CHESTS)
def test_equals_gdcm(real_data, name):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(real_data / name)))
    assert_same_volume(convert(real_data / name)[0], reader.Execute())


@pytest.mark.parametrize("phase", ["nct", "ctpa"])
def test_phantom_equals_dcm2niix(phantom, phase, tmp_path):
    image = read_scan(phantom / phase, patient="p1", phase=phase, series_uid="", config=ConvertConfig())[0]
    assert_same_volume(image, dcm2niix(phantom / phase, tmp_path), tolerance_mm=0.001)


@pytest.mark.parametrize("name", CHESTS)
def test_equals_dcm2niix(real_data, name, tmp_path):
    reference = dcm2niix(real_data / name, tmp_path)
    # dcm2niix takes the slice spacing from two slices; over 79 slices of rounded positions it is 0.026 mm off
    assert_same_volume(convert(real_data / name)[0], reference, tolerance_mm=0.03)


def test_spacing_is_from_positions_not_from_the_thickness_tag(real_data):
    image, facts = convert(real_data / "odd_dicom/jpeg2000_series")
    assert image.GetSpacing()[2] == pytest.approx(2.0)
    assert facts["slice_thickness_tag_mm"] == 3
    assert facts["contrast"]["evidence"] == "present"


ODD = {
    "gantry_tilt": "gantry tilt of 14.0 degrees",
    "not_a_volume": r"same position: 61\.50 mm \(4 slices\)",
    "slice_orientation": "modality is MR, not CT",
    "uneven_increment": r"median gap 5\.00 mm, but 10\.00 mm at 28\.11 mm",
    "variable_spacing_head": r"uneven or slices are missing: median gap 4\.00 mm, but 1\.08 mm at 18\.36 mm",
}


@pytest.mark.parametrize("name", [name for name in ODD if name != "variable_spacing_head"])
@pytest.mark.parametrize("minimum_slices", [10, 2])
def test_odd_folders_are_refused(real_data, name, minimum_slices):
    with pytest.raises(PatientError, match=ODD[name]):
        convert(real_data / "odd_dicom" / name, minimum_slices=minimum_slices, gantry_tilt="refuse")


def test_copies_of_a_slice_are_refused(real_data):
    with pytest.raises(PatientError, match=r"same position: 4\.70 mm \(16 slices\)"):
        convert(real_data / "odd_dicom/transfer_syntaxes")


def test_slices_of_one_position_are_rejected_beside_an_enhanced_ct(real_data):
    image, facts = convert(real_data / "odd_dicom/transfer_syntaxes", minimum_slices=2)
    assert image.GetSize() == (512, 512, 2)
    assert facts["rejected"][0]["reason"] == "several slices lie at the same position: 4.70 mm (16 slices)"
    assert "CT slices of another patient" in facts["warnings"][0]


@pytest.mark.parametrize("gantry_tilt", ["refuse", "resample"])
def test_tilted_and_uneven_is_refused_for_either(real_data, gantry_tilt):
    expected = {"refuse": "gantry tilt of 18.5 degrees", "resample": ODD["variable_spacing_head"]}[gantry_tilt]
    with pytest.raises(PatientError, match=expected):
        convert(real_data / "odd_dicom/variable_spacing_head", gantry_tilt=gantry_tilt)


def test_tilted_and_uneven_can_be_resampled(real_data):
    image, facts = convert(real_data / "odd_dicom/variable_spacing_head", uneven_spacing="resample")
    assert image.GetSize() == (512, 611, 37)  # dcm2niix: 512 x 611 in plane too, 56 slices of 2.62 mm
    assert "gantry tilt of 18.5 degrees" in facts["repaired"][0]
    assert "28 unevenly spaced slices resampled to 37 every 4.002 mm" in facts["repaired"][1]


def test_gantry_tilt_equals_dcm2niix(real_data, tmp_path):
    source = real_data / "odd_dicom/gantry_tilt"
    reference = dcm2niix(source, tmp_path, "scan_Tilt_1.nii")
    image, facts = convert(source, minimum_slices=2)
    assert image.GetSize() == reference.GetSize()
    for corner in ((0, 0, 0), tuple(n - 1 for n in image.GetSize())):
        found, wanted = (i.TransformIndexToPhysicalPoint(corner) for i in (image, reference))
        assert found == pytest.approx(wanted, abs=1e-3)
    difference = np.abs(sitk.GetArrayFromImage(image) - np.maximum(sitk.GetArrayFromImage(reference), -1024.0))
    assert (difference > 0).mean() < 0.005  # the border rows: half a pixel of them is air
    assert (np.count_nonzero(difference > 1, axis=(0, 2)) > 0).sum() <= 8  # rows
    assert "gantry tilt of 14.0 degrees" in facts["repaired"][0]


def test_uneven_increment_can_be_resampled(real_data):
    source = real_data / "odd_dicom/uneven_increment"
    image, facts = convert(source, minimum_slices=2, uneven_spacing="resample")
    assert image.GetSize()[2] == 5
    assert "interpolated" in facts["repaired"][0]


@pytest.fixture
def repeated(tmp_path, relabel):
    """A series of ten copies of one slice, at ten heights."""

    def repeat(source: Path) -> Path:
        for index in range(10):
            relabel(source, tmp_path / str(index), 5.0 * index)
        return tmp_path

    return repeat


LOSSLESS = (
    "1.2", "1.2.1", "1.2.1.99", "1.2.2", "1.2.4.57", "1.2.4.70", "1.2.4.80", "1.2.4.90", "1.2.5",
)  # fmt: skip


@pytest.mark.parametrize("ending", LOSSLESS)
def test_lossless_syntaxes_decode_alike(real_data, repeated, ending):
    folder = real_data / "odd_dicom/transfer_syntaxes"
    plain = sitk.ReadImage(str(folder / "CTImage.dcm"))
    source = next(folder.glob(f"*_1.2.840.10008.{ending}.dcm"))
    image, facts = convert(repeated(source))
    expected = np.maximum(sitk.GetArrayFromImage(plain)[0], -1024)
    assert all(np.array_equal(expected, found) for found in sitk.GetArrayFromImage(image))
    assert facts["lossy"] is False


@pytest.mark.parametrize(("ending", "largest"), [("1.2.4.81", 1), ("1.2.4.91", 5)])
def test_lossy_syntaxes_are_close_and_say_so(real_data, repeated, ending, largest):
    folder = real_data / "odd_dicom/transfer_syntaxes"
    plain = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "CTImage.dcm")))[0]
    image, facts = convert(repeated(next(folder.glob(f"*_1.2.840.10008.{ending}.dcm"))))
    difference = sitk.GetArrayFromImage(image)[0].astype(int) - np.maximum(plain, -1024)
    assert 0 < np.abs(difference).max() <= largest
    assert facts["lossy"] is True
    assert "with loss" in facts["warnings"][0]


@pytest.mark.parametrize(
    ("ending", "name"),
    [("1.2.4.55", r"JPEG Full Progression.*1\.2\.4\.55"), ("1.2.4.53", r"JPEG Spectral Selection.*1\.2\.4\.53")],
)
def test_syntax_that_cannot_be_decoded_is_named(real_data, repeated, ending, name):
    source = next((real_data / "odd_dicom/transfer_syntaxes").glob(f"*_1.2.840.10008.{ending}.dcm"))
    with pytest.raises(PatientError, match=f"cannot be decoded: transfer syntax '{name}"):
        convert(repeated(source))
