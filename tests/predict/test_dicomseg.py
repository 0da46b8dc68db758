"""DICOM Segmentations of made-up masks, read back by their tags and bits alone."""

import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cpmn.errors import CpmnError
from tests.dicom.conftest import COLUMNS, ROWS
from tests.dicom.test_multiframe import multi_framed
from tests.predict.marks import FRAMES, STUDY, segment
from tests.predict.marks import write_scan as write_scan  # a fixture
from tests.test_identifiers import IDENTIFYING

FILED_BY = ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber", "StudyID")
ORIENTATIONS = {
    "head first, supine": [1, 0, 0, 0, 1, 0],
    "prone": [-1, 0, 0, 0, -1, 0],
    "feet first": [-1, 0, 0, 0, 1, 0],
    "turned by 90 degrees": [0, 1, 0, -1, 0, 0],
}


def marked(mask: sitk.Image) -> np.ndarray:
    """Places (n, 3) of a mask's voxels, in mm, sorted."""
    indices = np.argwhere(sitk.GetArrayFromImage(mask))[:, ::-1]
    return in_order([mask.TransformIndexToPhysicalPoint(index.tolist()) for index in indices])


def marked_in(segmentation: pydicom.Dataset) -> np.ndarray:
    """The same of a Segmentation, by the formula of the standard (PS3.3, C.7.6.2.1.1)."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    size = (int(segmentation.NumberOfFrames), segmentation.Rows, segmentation.Columns)
    bits = np.unpackbits(np.frombuffer(segmentation.PixelData, np.uint8), bitorder="little")[: np.prod(size)]
    places = []
    for frame, group in zip(bits.reshape(size), segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        places += [origin + row * between_columns * x + column * between_rows * y for y, x in np.argwhere(frame)]
    return in_order(places)


def in_order(places: list) -> np.ndarray:
    """Rounded to 0.001 mm."""
    rounded = np.round(np.asarray(places, float).reshape(-1, 3), 3) + 0.0
    return rounded[np.lexsort(rounded.T)]


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
def test_marks_lie_where_the_mask_has_them(write_scan, tmp_path, orientation):
    mask = segment(write_scan(ImageOrientationPatient=orientation), tmp_path)
    segmentation = pydicom.dcmread(tmp_path / "prediction.dcm")
    np.testing.assert_allclose(marked_in(segmentation), marked(mask), atol=2e-3)
    assert len(marked(mask)) > 50


def rough(index: int) -> dict[str, list[float]]:
    """Positions and orientations as scanners round them: not quite even, not quite the same."""
    return {
        "ImagePositionPatient": [0, 0, 2.5 * index + (0.04 if index % 3 else 0)],
        "ImageOrientationPatient": [1, 1e-6 * index, 0, 0, 1, 0],
    }


@pytest.mark.parametrize(
    "tags",
    [*({"ImageOrientationPatient": orientation} for orientation in ORIENTATIONS.values()), {"each": rough}],
    ids=[*ORIENTATIONS, "rounded"],
)
def test_frames_name_the_slices_that_they_lie_on(write_scan, tmp_path, tags):
    scan = write_scan(**tags)
    mask = segment(scan, tmp_path)
    segmentation = pydicom.dcmread(tmp_path / "prediction.dcm")
    np.testing.assert_allclose(marked_in(segmentation), marked(mask), atol=0.05)
    slices = [pydicom.dcmread(path) for path in scan.iterdir()]
    heights = {one.SOPInstanceUID: float(one.ImagePositionPatient[2]) for one in slices}
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        named = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert heights[named] == pytest.approx(float(group.PlanePositionSequence[0].ImagePositionPatient[2]))
    assert (segmentation.Rows, segmentation.Columns) == (ROWS, COLUMNS)
    assert segmentation.StudyInstanceUID == STUDY["StudyInstanceUID"]
    assert segmentation.FrameOfReferenceUID == STUDY["FrameOfReferenceUID"]
    assert segmentation.SeriesInstanceUID not in {"1.2.3.4", ""}


@pytest.mark.parametrize("written", [None, 5, -2.5])
def test_the_distance_of_slices_is_that_of_their_positions(write_scan, tmp_path, written):
    segment(write_scan(SpacingBetweenSlices=written), tmp_path)
    segmentation = highdicom.seg.segread(tmp_path / "prediction.dcm")
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].SpacingBetweenSlices == 2.5
    assert segmentation.get_volume().spacing == pytest.approx((2.5, 0.7, 0.8))


def test_what_the_segment_is(write_scan, tmp_path):
    segment(write_scan(), tmp_path)
    (described,) = highdicom.seg.segread(tmp_path / "prediction.dcm").SegmentSequence
    assert described.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Embolus"
    assert described.SegmentAlgorithmType == "AUTOMATIC"
    assert "research use only" in described.SegmentLabel


@pytest.mark.parametrize("multi_frame", [False, True])
def test_patients_are_named_only_if_asked_for(write_scan, tmp_path, multi_frame):
    scan = write_scan(**IDENTIFYING | FRAMES)
    scan = multi_framed(scan, tmp_path / "frames") if multi_frame else scan
    segment(scan, tmp_path / "without")
    segment(scan, tmp_path / "with", identity=True)
    without, named = (b"".join(map(Path.read_bytes, (tmp_path / name).glob("*.dcm"))) for name in ("without", "with"))
    secrets = {keyword: text.encode() for keyword, text in IDENTIFYING.items() if not keyword.endswith("UID")}
    assert [keyword for keyword, text in secrets.items() if text in without] == []
    assert [keyword for keyword in FILED_BY if secrets[keyword] not in named] == []


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 100"], "Müller^Jürgen"),
        ("ISO_IR 100", "Müller^Jürgen"),
    ],
    ids=["Japanese", "Latin, extended", "Latin"],
)
def test_names_in_other_characters_stay_legible(write_scan, tmp_path, characters, name):
    segment(write_scan(SpecificCharacterSet=characters, PatientName=name), tmp_path, identity=True)
    assert pydicom.dcmread(tmp_path / "prediction.dcm").PatientName == name


def test_an_empty_mask_can_be_filed_too(write_scan, tmp_path):
    segment(write_scan(), tmp_path, marks=0)
    segmentation = pydicom.dcmread(tmp_path / "prediction.dcm")
    assert segmentation.NumberOfFrames == 12
    assert len(marked_in(segmentation)) == 0


def test_resampled_scans_get_positions_of_their_own(write_scan, tmp_path):
    uneven = np.delete(np.arange(16) * 2.5, [4, 9, 10])
    mask = segment(write_scan(z=uneven), tmp_path, uneven_spacing="resample")
    np.testing.assert_allclose(marked_in(pydicom.dcmread(tmp_path / "prediction.dcm")), marked(mask), atol=2e-3)


@pytest.mark.parametrize("identity", [False, True])
def test_a_multi_frame_scan(write_scan, tmp_path, identity):
    scan = multi_framed(write_scan(**FRAMES), tmp_path / "frames")
    mask = segment(scan, tmp_path, identity=identity)
    segmentation = pydicom.dcmread(tmp_path / "prediction.dcm")
    np.testing.assert_allclose(marked_in(segmentation), marked(mask), atol=2e-3)
    named = segmentation.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert named.ReferencedSOPInstanceUID == "1.9.1"


def test_a_multi_frame_scan_whose_frames_each_say_what_all_share(write_scan, tmp_path):
    scan = multi_framed(write_scan(**FRAMES), tmp_path / "frames")
    dataset = pydicom.dcmread(scan / "file")
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame[keyword] = shared[keyword]
        del shared[keyword]
    dataset.save_as(scan / "file")
    mask = segment(scan, tmp_path)
    np.testing.assert_allclose(marked_in(pydicom.dcmread(tmp_path / "prediction.dcm")), marked(mask), atol=2e-3)


def test_several_multi_frame_files_are_refused(write_scan, tmp_path):
    lower, upper = (write_scan(f"scan-{z}", z=2.5 * np.arange(z, z + 12), **FRAMES) for z in (0, 12))
    scan = multi_framed(lower, tmp_path / "frames")
    multi_framed(upper, tmp_path / "more").joinpath("file").rename(scan / "another")
    with pytest.raises(CpmnError, match="more than one multi-frame file"):
        segment(scan, tmp_path)


def test_a_scan_without_what_must_be_repeated(write_scan, tmp_path):
    with pytest.raises(CpmnError, match=r"tags of the scan are missing or wrong: no StudyInstanceUID\. .*--dicom"):
        segment(write_scan(StudyInstanceUID=None), tmp_path)
    assert not (tmp_path / "prediction.dcm").exists()


def test_a_message_quotes_nothing_of_a_named_patient(write_scan, tmp_path):
    birth = "1956-07-18"
    with pytest.raises(CpmnError, match=r"missing or wrong\. ") as caught:
        segment(write_scan(PatientBirthDate=birth), tmp_path, identity=True)
    assert birth not in str(caught.value)


def test_nothing_is_printed_of_oddly_written_names(write_scan, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segment(write_scan(PatientName="Anonymous"), tmp_path, identity=True)


def test_a_real_scan(real_data, tmp_path):
    mask = segment(real_data / "lung_pet_ct_dx/A0002/B40f", tmp_path)
    segmentation = highdicom.seg.segread(tmp_path / "prediction.dcm")
    assert segmentation.NumberOfFrames == mask.GetSize()[2]
    assert int(segmentation.pixel_array.sum()) == int(sitk.GetArrayViewFromImage(mask).sum())


def test_marks_of_a_scan_that_an_archive_cut_refer_to_both_series(write_scan, tmp_path):
    write_scan("study/a", z=[2.0 * i for i in range(12)], SeriesInstanceUID="1.5")
    write_scan("study/b", z=[24.0 + 2.0 * i for i in range(6)], SeriesInstanceUID="1.6")
    mask = segment(tmp_path / "study", tmp_path / "out")
    segmentation = pydicom.dcmread(tmp_path / "out/prediction.dcm")
    np.testing.assert_allclose(marked_in(segmentation), marked(mask), atol=2e-3)
    slices = map(pydicom.dcmread, (path for path in (tmp_path / "study").rglob("*") if path.is_file()))
    series = {one.SOPInstanceUID: one.SeriesInstanceUID for one in slices}
    referred = {
        one.ReferencedSOPInstanceUID: item.SeriesInstanceUID
        for item in segmentation.ReferencedSeriesSequence
        for one in item.ReferencedInstanceSequence
    }
    assert set(referred.values()) == {"1.5", "1.6"}
    assert all(series[instance] == uid for instance, uid in referred.items())


def test_plain_slices_that_count_one_frame_each_are_plain_slices(write_scan, tmp_path):
    mask = segment(write_scan(NumberOfFrames=1), tmp_path)
    np.testing.assert_allclose(marked_in(pydicom.dcmread(tmp_path / "prediction.dcm")), marked(mask), atol=2e-3)
