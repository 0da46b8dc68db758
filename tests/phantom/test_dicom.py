import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from cpmn.phantom.dicom import write_series
from cpmn.phantom.scan import Phase, scan_phase


@pytest.fixture(scope="module", params=["nct", "ctpa"])
def phase(request: pytest.FixtureRequest) -> Phase:
    return request.param


@pytest.fixture(scope="module")
def scan(tiny, anatomy, phase):
    return scan_phase(tiny, anatomy, phase)


@pytest.fixture(scope="module")
def slices(written, positive, phase) -> list[pydicom.Dataset]:
    """Datasets of a series, by file name."""
    return [pydicom.dcmread(path) for path in sorted((written / positive / phase).glob("*.dcm"))]


def test_simpleitk_reads_the_exact_scan(written, positive, phase, scan):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(written / positive / phase)))
    image = reader.Execute()
    assert image.GetSize() == scan.grid.size
    assert image.GetSpacing() == pytest.approx(scan.grid.spacing, abs=1e-9)
    assert image.GetOrigin() == pytest.approx(scan.grid.origin, abs=1e-9)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert (sitk.GetArrayFromImage(image) == scan.hu).all()


def test_pydicom_reads_the_exact_scan(slices, scan):
    ordered = sorted(slices, key=lambda data: data.ImagePositionPatient[2])
    volume = np.stack([data.pixel_array * data.RescaleSlope + data.RescaleIntercept for data in ordered])
    assert (volume == scan.hu).all()
    assert [float(d.ImagePositionPatient[2]) for d in ordered] == pytest.approx(scan.grid.axes()[2], abs=1e-6)


def test_file_names_do_not_follow_the_slices(slices):
    heights = np.array([float(data.ImagePositionPatient[2]) for data in slices])
    assert abs(np.corrcoef(heights, np.arange(len(heights)))[0, 1]) < 0.6
    assert np.unique(heights).size == len(slices)


def test_series_is_one_valid_ct_series(slices, positive, phase):
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "Modality"):
        assert len({data[name].value for data in slices}) == 1
    assert len({data.SOPInstanceUID for data in slices}) == len(slices)
    for data in slices:
        assert data.SOPClassUID == CTImageStorage
        assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        assert data.SOPInstanceUID.is_valid
        assert data.PatientID == positive
        assert data.Manufacturer == "CPMN phantom"
        assert str(data.PatientName).startswith("PHANTOM")
        assert data.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert ("ContrastBolusAgent" in slices[0]) == (phase == "ctpa")


def test_phases_share_study_and_frame_but_not_series(written, positive):
    first = {p: pydicom.dcmread(next((written / positive / p).glob("*.dcm"))) for p in ("nct", "ctpa")}
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert first["nct"][name].value == first["ctpa"][name].value
    assert first["nct"].SeriesInstanceUID != first["ctpa"].SeriesInstanceUID
    assert first["nct"].PixelSpacing != first["ctpa"].PixelSpacing
    assert first["nct"].SliceThickness != first["ctpa"].SliceThickness


def test_headers_do_not_tell_the_label(written, positive, negative, phase):
    """Same number of files, same tags; values that differ are the patient's identity and position alone."""
    own = {
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "SOPInstanceUID",
        "ImagePositionPatient",
        "SliceLocation",
        "InstanceNumber",
        "PixelData",
    }
    names = [sorted(path.name for path in (written / name / phase).iterdir()) for name in (positive, negative)]
    assert names[0] == names[1]
    for file in names[0][:5]:
        ill, well = (pydicom.dcmread(written / name / phase / file) for name in (positive, negative))
        assert [element.tag for element in ill] == [element.tag for element in well]
        differing = {element.keyword for element in ill if element.value != well[element.tag].value}
        assert differing <= own


def test_a_clot_changes_pixels_and_nothing_else(scanned, phase, tmp_path):
    for name, scan in (("ill", scanned.scans[phase]), ("twin", scanned.twin[phase])):
        write_series(scan, "phantom-001", 7, tmp_path / name)
    changed = set()
    for path in (tmp_path / "ill").iterdir():
        ill, twin = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "twin" / path.name)
        assert [element.tag for element in ill] == [element.tag for element in twin]
        assert path.stat().st_size == (tmp_path / "twin" / path.name).stat().st_size
        changed |= {element.keyword for element in ill if element.value != twin[element.tag].value}
    assert changed == {"PixelData"}
