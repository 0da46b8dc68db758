"""Enhanced CT: one file of many frames, whose geometry and rescale lie in functional groups."""

import struct
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.headers import read_file_set
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError

ORDER = (3, 0, 2, 11, 1, 4, 10, 5, 9, 6, 8, 7)  # frames do not follow the heights


def convert(source: Path, **config):
    return read_scan(source, patient="p1", phase="nct", series_uid="", config=ConvertConfig(**config))


def item(**values) -> Dataset:
    """A data set; a keyword of a sequence takes one item."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, Sequence([value]) if isinstance(value, Dataset) else value)
    return dataset


def enhanced(source: Path, target: Path, *, per_frame_rescale: bool = False, **tags) -> FileDataset:
    """One enhanced CT file of the slices of a single-frame series (whose pixels it keeps, in another order)."""
    slices = sorted((pydicom.dcmread(path) for path in source.iterdir()), key=lambda s: s.ImagePositionPatient[2])
    slices = [slices[i] for i in ORDER]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "Modality"):
        setattr(dataset, keyword, slices[0][keyword].value)
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedCTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.PatientName = "1.2.3.4", "Doe^Jane"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.ImageType, dataset.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], len(slices)
    rescale = item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    shared = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[0.7, 0.8], SliceThickness=9),
        CTReconstructionSequence=item(ConvolutionKernel="B30f"),
        CTImageFrameTypeSequence=item(FrameType=["ORIGINAL", "PRIMARY", "AXIAL", "NONE"]),
    )
    frames = [item(PlanePositionSequence=item(ImagePositionPatient=s.ImagePositionPatient)) for s in slices]
    if per_frame_rescale:
        for index, frame in enumerate(frames):
            frame.PixelValueTransformationSequence = Sequence(
                [item(RescaleSlope=1, RescaleIntercept=-1024 + ORDER[index], RescaleType="HU")]
            )
    else:
        shared.PixelValueTransformationSequence = Sequence([rescale])
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = Sequence([shared]), frames
    dataset.PixelData = b"".join(s.PixelData for s in slices)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    target.mkdir()
    dataset.save_as(target / "enhanced", enforce_file_format=True)
    return dataset


def multi_framed(source: Path, target: Path) -> Path:
    """One legacy converted file of a single-frame series, in a folder of its own."""
    target.mkdir()
    highdicom.legacy.LegacyConvertedEnhancedCTImage(
        [pydicom.dcmread(path) for path in source.iterdir()],
        series_instance_uid="1.9",
        series_number=3,
        sop_instance_uid="1.9.1",
        instance_number=1,
    ).save_as(target / "file")
    return target


def test_enhanced_ct_equals_the_single_frames(write_series, tmp_path):
    source = write_series()
    enhanced(source, tmp_path / "enhanced")
    (plain, expected), (image, facts) = convert(source), convert(tmp_path / "enhanced")
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(plain))
    for get in (sitk.Image.GetSpacing, sitk.Image.GetOrigin, sitk.Image.GetDirection):
        assert get(image) == pytest.approx(get(plain))
    for key in ("kernel", "slices", "slice_thickness_tag_mm", "chosen_because", "size", "hu_range"):
        assert facts[key] == expected[key]


def test_rescale_and_contrast_of_enhanced_ct(write_series, tmp_path):
    agent = item(CodeValue="C-B0322", CodingSchemeDesignator="SRT", CodeMeaning="Iohexol")
    enhanced(write_series(), tmp_path / "e", per_frame_rescale=True, ContrastBolusAgentSequence=[agent])
    image, facts = convert(tmp_path / "e")
    plain = sitk.GetArrayFromImage(convert(tmp_path / "scan")[0])
    assert np.array_equal(sitk.GetArrayFromImage(image), plain + np.arange(12)[:, None, None])
    assert facts["contrast"]["evidence"] == "present"
    assert facts["contrast"]["from"] == "ContrastBolusAgent"


def test_compressed_enhanced_ct(write_series, tmp_path):
    dataset = enhanced(write_series(), tmp_path / "e")
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "e/enhanced")
    image, facts = convert(tmp_path / "e")
    assert facts["transfer_syntax"] == "RLE Lossless"
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(convert(tmp_path / "scan")[0]))


def test_legacy_converted_enhanced_ct(write_series, tmp_path):
    study = {"StudyInstanceUID": "1.2", "PatientSex": "F", "StudyID": "1", "StudyTime": "0900", "AccessionNumber": "7"}
    study |= {"FrameOfReferenceUID": "1.3", "PositionReferenceIndicator": "", "BodyPartExamined": "CHEST"}
    source = write_series(
        **study, SeriesNumber=1, SeriesDate="20190305", SeriesTime="0900", ReferringPhysicianName="", Laterality=""
    )
    (plain, expected), (image, facts) = convert(source), convert(multi_framed(source, tmp_path / "e"))
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(plain))
    assert image.GetSpacing() == pytest.approx(plain.GetSpacing())
    assert image.GetOrigin() == pytest.approx(plain.GetOrigin())
    assert facts["kernel"] == expected["kernel"] == "B30f"


@pytest.mark.parametrize("frames", [None, 11])
def test_frames_without_a_place(write_series, tmp_path, frames):
    dataset = enhanced(write_series(), tmp_path / "e")
    dataset.PerFrameFunctionalGroupsSequence = Sequence(list(dataset.PerFrameFunctionalGroupsSequence)[: frames or 0])
    dataset.save_as(tmp_path / "e/enhanced")
    with pytest.raises(PatientError, match="multi-frame image that does not say where each frame lies"):
        convert(tmp_path / "e")


def test_frames_at_one_position_are_listed(write_series, tmp_path):
    dataset = enhanced(write_series(), tmp_path / "e")
    frames = dataset.PerFrameFunctionalGroupsSequence
    frames[1].PlanePositionSequence = frames[0].PlanePositionSequence
    dataset.save_as(tmp_path / "e/enhanced")
    with pytest.raises(PatientError, match=r"same position: -22\.50 mm \(2 slices\)"):
        convert(tmp_path / "e")


def test_truncated_frames_name_the_file(write_series, tmp_path):
    dataset = enhanced(write_series(), tmp_path / "e")
    dataset.PixelData = dataset.PixelData[:-40]
    dataset.save_as(tmp_path / "e/enhanced")
    with pytest.raises(PatientError, match=r"pixel data is damaged or truncated .*enhanced"):
        convert(tmp_path / "e")


@pytest.mark.parametrize("keyword", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
@pytest.mark.parametrize("wanted", [False, True])
def test_a_damaged_value_among_the_frames_is_a_damaged_file_where_it_is_asked_for(
    write_series, tmp_path, keyword, wanted
):
    """A double of four bytes, as no parser takes it, in a sequence that nobody needs or in the place of a tag."""
    dataset = enhanced(write_series(), tmp_path / "enhanced")
    tag = Tag("SliceThickness" if wanted else "ExposureTimeInms")
    damaged = Dataset()
    damaged.add_new(tag, "US", [1, 2])
    dataset[keyword][0].CTExposureSequence = Sequence([damaged])
    path = tmp_path / "enhanced/enhanced"
    dataset.save_as(path, enforce_file_format=True)
    start = struct.pack("<2H", tag.group, tag.elem)
    content = path.read_bytes()
    assert content.count(start + b"US") == 1
    path.write_bytes(content.replace(start + b"US", start + b"FD"))
    if wanted:
        with pytest.raises(SeriesProblem, match="a DICOM file is damaged"):
            read_file_set(tmp_path / "enhanced")
    else:
        assert len(read_file_set(tmp_path / "enhanced").headers) == len(ORDER)
