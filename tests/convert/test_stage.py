"""Conversion as a whole: exact HU, geometry, provenance, and one clear message for each bad input."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_patient
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError
from cpmn.volume.images import read_image

CONFIG = ConvertConfig()
ROWS, COLUMNS = 6, 8


def make_patient(**paths: Path) -> Patient:
    return Patient.model_validate({"patient_id": "p1", "label": 0, **paths})


def convert(source: Path, phase: str = "nct", series_uid: str = "", **config):
    return read_scan(source, patient="p1", phase=phase, series_uid=series_uid, config=ConvertConfig(**config))


def message(source: Path, **arguments) -> str:
    with pytest.raises(PatientError) as caught:
        convert(source, **arguments)
    assert str(caught.value).startswith("patient p1: ")
    assert caught.value.remedy
    return str(caught.value)


def expected_hu(count: int = 12) -> np.ndarray:
    z, y, x = np.mgrid[:count, :ROWS, :COLUMNS]
    return 1000 * (z % 3) + 100 * y + 3 * x + z - 1024


def test_hu_and_geometry_are_exact(write_series):
    image, facts = convert(write_series())
    assert np.array_equal(sitk.GetArrayFromImage(image), expected_hu())
    assert image.GetPixelID() == sitk.sitkInt16
    assert image.GetSpacing() == pytest.approx((0.8, 0.7, 2.5))  # columns, rows, positions; the thickness tag says 9
    assert image.GetOrigin() == pytest.approx((-10.0, -20.0, -30.0))
    assert facts["slices"] == 12
    assert facts["repaired"] == []
    assert facts["kernel"] == "B30f"


def test_rescale_differs_by_slice(write_series):
    source = write_series(each=lambda index: {"RescaleSlope": 0.5 + index, "RescaleIntercept": -1000 + index})
    array = sitk.GetArrayFromImage(convert(source)[0])
    stored = expected_hu() + 1024
    scale, shift = 0.5 + np.arange(12)[:, None, None], -1000 + np.arange(12)[:, None, None]
    assert np.array_equal(array, np.clip(np.rint(stored * scale + shift), -1024, 32767))


def test_values_below_air_are_padding_and_counted(write_series):
    image, facts = convert(write_series(RescaleIntercept=-1500))
    hu = expected_hu() - 476
    assert np.array_equal(sitk.GetArrayFromImage(image), np.maximum(hu, -1024))
    assert facts["padding_voxels"] == (hu < -1024).sum() > 0
    assert "padding" in facts["repaired"][0]


def test_values_above_int16_are_saturated_and_counted(write_series):
    image, facts = convert(write_series(RescaleSlope=40))
    assert sitk.GetArrayFromImage(image).max() == 32767
    assert facts["saturated_voxels"] == (40 * (expected_hu() + 1024) - 1024 > 32767).sum() > 0


@pytest.mark.parametrize(
    ("cosines", "flips"),
    [
        ([1, 0, 0, 0, 1, 0], ()),
        ([-1, 0, 0, 0, -1, 0], (1, 2)),  # prone
        ([-1, 0, 0, 0, 1, 0], (0, 2)),  # feet first: the slice normal points down
    ],
)
def test_every_axial_orientation_becomes_lps(write_series, cosines, flips):
    image, _ = convert(write_series(ImageOrientationPatient=cosines))
    assert np.allclose(image.GetDirection(), np.eye(3).ravel())
    values = sitk.GetArrayFromImage(image)
    z_order = expected_hu()  # slices stay at their heights whichever way the normal points
    in_plane = [axis for axis in flips if axis != 0]
    assert np.array_equal(values, np.flip(z_order, in_plane))
    index = image.TransformPhysicalPointToIndex((-10.0, -20.0, -30.0))  # first stored voxel of the lowest slice
    assert values[index[::-1]] == -1024


def test_file_names_folders_and_order_do_not_matter(write_series, tmp_path):
    plain = write_series("plain")
    nested = tmp_path / "nested"
    for number, path in enumerate(sorted(plain.iterdir(), reverse=True)):
        (nested / f"disc{number % 3}").mkdir(parents=True, exist_ok=True)
        (nested / f"disc{number % 3}" / f"IM{number}").write_bytes(path.read_bytes())
    first, facts = convert(plain)
    second, other = convert(nested)
    assert np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))
    assert facts == other  # the source hash too


def test_files_without_preamble_are_read(write_series):
    source = write_series()
    for path in source.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    assert np.array_equal(sitk.GetArrayFromImage(convert(source)[0]), expected_hu())


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_files_without_meta_information_are_read(write_series, syntax):
    source = write_series()
    for path in source.iterdir():
        dataset = dcmread(path)
        values = dataset.pixel_array
        dataset.PixelData = values.astype(values.dtype.newbyteorder("<" if syntax.is_little_endian else ">")).tobytes()
        bare = Dataset(dataset)
        encoding = {"implicit_vr": syntax.is_implicit_VR, "little_endian": syntax.is_little_endian}
        dcmwrite(path, bare, **encoding)
        assert path.read_bytes()[:2] == (b"\x08\x00" if syntax.is_little_endian else b"\x00\x08")
    image, facts = convert(source)
    assert np.array_equal(sitk.GetArrayFromImage(image), expected_hu())
    assert facts["transfer_syntax"] == syntax.name


@pytest.mark.parametrize(
    ("tag", "value", "fact"), [("KVP", b"120kV ", "kvp"), ("SliceThickness", b"1,25", "slice_thickness_tag_mm")]
)
def test_a_malformed_tag_that_decides_nothing_is_left_out(write_series, tag, value, fact):
    source = write_series()
    assert convert(source)[1][fact] == {"KVP": None, "SliceThickness": 9.0}[tag]
    for path in source.iterdir():
        dataset = dcmread(path)
        dataset[tag] = RawDataElement(Tag(tag), "DS", len(value), value, 0, False, True)
        dataset.save_as(path)
    image, facts = convert(source)
    assert np.array_equal(sitk.GetArrayFromImage(image), expected_hu())
    assert facts[fact] is None


def test_other_files_are_passed_over_and_counted(write_series):
    source = write_series()
    (source / "README.txt").write_text("not an image")
    (source / "._001.dcm").write_bytes(b"\0\x05\x16\x07")
    (source / "empty").touch()
    write_series("scan/more", z=[0, 1], SeriesInstanceUID="1.9", Modality="PT")
    write_series("scan/scout", z=[3], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    _, facts = convert(source)
    assert facts["ignored_files"] == {"not DICOM": 3}
    assert facts["rejected_files"] == {"localizer": 1}
    assert [item["reason"] for item in facts["rejected"]] == ["modality is PT, not CT"]


def test_json_holds_nothing_that_identifies(write_series, tmp_path):
    patient = make_patient(nct=write_series(SeriesInstanceUID="1.2.826.0.1"))
    convert_patient(patient, tmp_path / "out", CONFIG)
    text = (tmp_path / "out" / "nct.json").read_text()
    for secret in ("Doe", "SECRET", "1956", "2019", "1.2.826.0.1", str(tmp_path)):
        assert secret not in text
    header = read_image(tmp_path / "out" / "nct.nii.gz")
    assert not any("Doe" in header.GetMetaData(key) for key in header.GetMetaDataKeys())


def test_patient_with_both_phases(write_series, tmp_path):
    other = {"SeriesInstanceUID": "1.5", "ContrastBolusAgent": "Iomeron 400", "RescaleIntercept": -1000}
    nct, ctpa = write_series("n"), write_series("c", **other)
    patient = make_patient(nct=nct, ctpa=ctpa)
    convert_patient(patient, tmp_path / "out", CONFIG)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "ctpa.json",
        "ctpa.nii.gz",
        "nct.json",
        "nct.nii.gz",
    ]
    facts = json.loads((tmp_path / "out" / "ctpa.json").read_text())
    assert facts["contrast"] == {"evidence": "present", "from": "ContrastBolusAgent"}
    assert facts["warnings"] == []


def test_both_phases_from_one_folder_are_told_apart(write_series, tmp_path):
    write_series("study/a", SeriesInstanceUID="1.5", ContrastBolusAgent="Ultravist")
    write_series("study/b", SeriesInstanceUID="1.6", RescaleIntercept=-1000)
    study = tmp_path / "study"
    convert_patient(make_patient(nct=study, ctpa=study), tmp_path / "out", CONFIG)
    nct, ctpa = (sitk.GetArrayFromImage(read_image(tmp_path / "out" / f"{p}.nii.gz")) for p in ("nct", "ctpa"))
    assert np.array_equal(nct, ctpa + 24)


def test_one_scan_for_both_phases_is_refused(write_series, tmp_path):
    scan = write_series()
    with pytest.raises(PatientError, match=r"one and the same scan .*nct_series and ctpa_series"):
        convert_patient(make_patient(nct=scan, ctpa=scan), tmp_path / "out", CONFIG)


def test_an_agent_where_none_is_expected_is_a_warning_if_the_image_does_not_tell(write_series, tmp_path, caplog):
    """Pixels without lungs say nothing, and an agent is often copied from the protocol."""
    nct = write_series(ContrastBolusAgent="Ultravist")
    convert_patient(make_patient(nct=nct), tmp_path / "out", CONFIG)
    facts = json.loads((tmp_path / "out" / "nct.json").read_text())
    assert "contrast is present" in facts["warnings"][0]
    assert [check["outcome"] for check in facts["checks"] if check["check"] == "contrast"] == ["warned"]
    assert "contrast is present" in caplog.text


def test_uneven_spacing_can_be_resampled(write_series):
    """A ramp along z is kept by linear interpolation, whatever the gaps."""
    heights = [0, 2, 4, 6, 8, 10, 12, 14, 18, 20, 22]

    def ramp(index):
        return {"PixelData": np.full((ROWS, COLUMNS), 10 * heights[index], np.uint16).tobytes()}

    image, facts = convert(write_series(z=heights, each=ramp), uneven_spacing="resample")
    assert image.GetSpacing()[2] == pytest.approx(2.0)
    assert np.array_equal(sitk.GetArrayFromImage(image)[:, 0, 0], 20 * np.arange(12) - 1024)
    assert "interpolated" in facts["repaired"][0]


def test_damaged_header_names_the_file(write_series):
    source = write_series()
    victim = sorted(source.iterdir())[4]
    victim.write_bytes(victim.read_bytes()[:180])
    text = message(source)
    assert "a DICOM file is damaged" in text
    assert str(victim) in text


def test_truncated_pixels_name_the_file(write_series):
    source = write_series()
    victim = sorted(source.iterdir())[4]
    victim.write_bytes(victim.read_bytes()[:-40])
    text = message(source)
    assert "the pixel data is damaged or truncated" in text
    assert str(victim) in text


def test_two_equal_series_must_be_named(write_series, tmp_path):
    write_series("study/a", SeriesInstanceUID="1.5")
    write_series("study/b", SeriesInstanceUID="1.6", ConvolutionKernel="B70f", RescaleIntercept=-1000)
    text = message(tmp_path / "study")
    assert "2 series suit equally" in text
    assert "B30f" in text
    assert "nct_series" in text
    key = text.split("B70f")[0].rsplit("series ", 1)[1].split()[0]
    for name in ("1.6", key):  # the UID, or the key that the message shows
        image, facts = convert(tmp_path / "study", series_uid=name)
        assert facts["kernel"] == "B70f"
        assert sitk.GetArrayFromImage(image).min() == -1000
    assert convert(tmp_path / "study", preferred_kernel="b70F")[1]["kernel"] == "B70f"


def test_named_series_that_is_not_there(write_series):
    assert "the named series '9.9' is not in the folder" in message(write_series(), series_uid="9.9")


def test_image_file_of_floats(tmp_path):
    array = expected_hu().astype(np.float32)
    array[0, 0, :3] = (-2000.0, 12.4, 40000.0)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.6, 3.0))
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    converted, facts = convert(tmp_path / "scan.nrrd")
    assert sitk.GetArrayFromImage(converted)[0, 0, :3].tolist() == [-1024, 12, 32767]
    assert np.array_equal(sitk.GetArrayFromImage(converted)[1:], expected_hu()[1:])
    assert (facts["padding_voxels"], facts["rounded_voxels"], facts["saturated_voxels"]) == (1, 1, 1)
    assert "cannot confirm" in facts["hu_from"]


def test_image_file_in_another_index_order_becomes_lps(tmp_path):
    image = sitk.GetImageFromArray(expected_hu().astype(np.int16))
    image.SetSpacing((0.5, 0.6, 3.0))
    for code in ("RAS", "PIR"):
        sitk.WriteImage(sitk.DICOMOrient(image, code), str(tmp_path / "scan.nii.gz"))
        converted, _ = convert(tmp_path / "scan.nii.gz")
        assert np.array_equal(sitk.GetArrayFromImage(converted), expected_hu())
        assert converted.GetSpacing() == pytest.approx((0.5, 0.6, 3.0))


def write_nifti(path: Path, sform: np.ndarray | None, qform: np.ndarray | None) -> Path:
    image = nibabel.Nifti1Image(expected_hu().T.astype(np.int16), None)
    image.header["pixdim"][1:4] = (0.5, 0.6, 3.0)
    image.set_qform(qform, int(qform is not None))
    image.set_sform(sform, int(sform is not None))
    nibabel.save(image, path)
    return path


def test_image_file_whose_forms_differ(tmp_path):
    """Read as the one or the other, it is the scan or its mirror image."""
    lps, mirrored = np.diag([-0.5, -0.6, 3.0, 1.0]), np.diag([0.5, -0.6, 3.0, 1.0])
    path = write_nifti(tmp_path / "scan.nii", lps, mirrored)
    assert "one a mirror image of the other" in message(path)
    assert "convert.nifti_forms" in message(path)
    assert np.array_equal(sitk.GetArrayFromImage(convert(path, nifti_forms="sform")[0]), expected_hu())
    assert np.array_equal(sitk.GetArrayFromImage(convert(path, nifti_forms="qform")[0]), expected_hu()[..., ::-1])


def test_image_file_without_forms_is_said_to_be_one(tmp_path):
    image, facts = convert(write_nifti(tmp_path / "scan.nii", None, None))
    assert facts["warnings"] == [
        "the file states neither orientation nor position: its axes are taken as the format has them without"
    ]
    assert np.array_equal(sitk.GetArrayFromImage(image), expected_hu()[:, ::-1])  # nifti1.h: x to the left, y to front


def test_default_geometry_is_refused_unless_overruled(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(expected_hu().astype(np.int16)), str(tmp_path / "scan.mha"))
    patient = make_patient(nct=tmp_path / "scan.mha")
    with pytest.raises(PatientError, match=r"the first at exactly \(0, 0, 0\).*overrule the check: geometry"):
        convert_patient(patient, tmp_path / "out", CONFIG)
    convert_patient(patient.model_copy(update={"overrule": ("geometry",)}), tmp_path / "out", CONFIG)
    found = json.loads((tmp_path / "out/nct.json").read_text())
    assert {item["check"]: item["outcome"] for item in found["checks"]}["geometry"] == "overruled"
    assert any("1 x 1 x 1 mm" in warning for warning in found["warnings"])


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nhdr"])  # the voxels' file: scan.raw, scan.raw.gz
def test_the_source_of_a_header_holds_its_voxels_too(tmp_path, name):
    (tmp_path / "scan").mkdir()
    image = sitk.GetImageFromArray(expected_hu().astype(np.int16))
    image.SetSpacing((0.5, 0.6, 3.0))
    sources = set()
    for change in (0, 1):
        sitk.WriteImage(image + change, str(tmp_path / name), useCompression=name == "scan.nhdr")
        header = (tmp_path / name).read_bytes()
        sources.add((header, convert(tmp_path / name)[1]["source_sha256"]))
    assert len({header for header, _ in sources}) == 1
    assert len({sha256 for _, sha256 in sources}) == 2


def test_damaged_image_file(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"garbage")
    text = message(tmp_path / "scan.nii.gz")
    assert "cannot be read" in text
    assert str(tmp_path / "scan.nii.gz") in text


def test_result_does_not_depend_on_instance_uids(write_series):
    first = convert(write_series("a"))[0]
    second = convert(write_series("b", each=lambda index: {"SOPInstanceUID": generate_uid()}))[0]
    assert np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))
