"""Segmentation, report and picture of made-up marks: titles that follow the decision, UIDs, what other tools say."""

import json
import shutil
import subprocess
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cpmn.predict import dicomnames
from cpmn.predict.dicomfiles import DICOM_FILES
from tests.dicom.test_multiframe import multi_framed
from tests.predict.marks import FRAMES, made_record, segment
from tests.predict.marks import write_scan as write_scan  # a fixture

DECIDED = {"PE": True, "no PE": False, "none: no threshold": None}


def read(folder: Path) -> dict[str, pydicom.Dataset]:
    return {name: pydicom.dcmread(folder / name) for name in DICOM_FILES}


def run(*command: str | Path) -> str:
    """Output of a program; the test is skipped where it is not installed."""
    if not shutil.which(str(command[0])):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("positive", DECIDED.values(), ids=list(DECIDED))
@pytest.mark.parametrize("marks", [0, 3])
@pytest.mark.parametrize("identity", [False, True])
def test_the_files_keep_to_the_standard(write_scan, tmp_path, positive, marks, identity):
    segment(write_scan(), tmp_path, marks=marks, positive=positive, identity=identity)
    for name in DICOM_FILES:
        assert "Error" not in run("dciodvfy", "-new", tmp_path / name), name


def test_those_of_a_multi_frame_scan_too(write_scan, tmp_path):
    segment(multi_framed(write_scan(**FRAMES), tmp_path / "frames"), tmp_path, marks=2, identity=True)
    for name in ("report.dcm", "overview.dcm"):
        assert "Error" not in run("dciodvfy", "-new", tmp_path / name), name


@pytest.mark.parametrize("marks", [0, 2])
@pytest.mark.parametrize("positive", [False, None])
def test_nothing_is_called_an_embolus_unless_pe_was_decided(write_scan, tmp_path, marks, positive):
    segment(write_scan(), tmp_path, marks=marks, positive=positive)
    for name, dataset in read(tmp_path).items():
        texts = [str(element.value) for element in dataset.iterall() if element.VR in ("LO", "SH", "ST", "LT", "UT")]
        assert [text for text in texts if "mbolus" in text] == [], name
        assert not dataset.SeriesDescription.startswith("CPMN: PE"), name


def test_titles_codes_and_colours_follow_the_decision(write_scan, tmp_path):
    for name, positive in {"pe": True, "no": False}.items():
        segment(write_scan(name), tmp_path / name / "out", marks=2, positive=positive)
    found = {name: read(tmp_path / name / "out") for name in ("pe", "no")}
    titles = {name: {one.SeriesDescription for one in files.values()} for name, files in found.items()}
    assert titles == {
        "pe": {"CPMN: PE, 2 marks (research use only)"},
        "no": {"CPMN: no PE, 2 marks (research use only)"},
    }
    pe, no = (found[name]["prediction.dcm"] for name in ("pe", "no"))
    assert (pe.ContentLabel, no.ContentLabel) == ("PE", "NO_PE")
    assert [one.SegmentLabel for one in pe.SegmentSequence] == [
        f"Pulmonary embolus {number} (research use only)" for number in (1, 2)
    ]
    assert no.SegmentSequence[0].SegmentLabel == "Mark 1, decision no PE (research use only)"
    colours = [tuple(one.SegmentSequence[0].RecommendedDisplayCIELabValue) for one in (pe, no)]
    assert len(set(colours)) == 2


def test_each_mark_is_a_segment(write_scan, tmp_path):
    labels = sitk.GetArrayFromImage(segment(write_scan(), tmp_path, marks=3))
    segmentation = highdicom.seg.segread(tmp_path / "prediction.dcm")
    assert list(segmentation.segment_numbers) == [1, 2, 3]
    for number in range(1, 4):
        (group,) = [one for one in segmentation.SegmentSequence if one.SegmentNumber == number]
        assert "1.25 mL, left, upper third, slice 3" in group.SegmentDescription
        assert "WARNING: contrast is present" in group.SegmentDescription
        frames = segmentation.get_volume(segment_numbers=[number]).array
        assert int(frames.sum()) == int((labels == number).sum())


def test_reading_again_replaces(write_scan, tmp_path):
    scan = write_scan()
    for name in ("one", "two"):
        segment(scan, tmp_path / name, marks=2, identity=name == "two")
    segment(write_scan("other", SeriesInstanceUID="1.9.9"), tmp_path / "three", marks=2)
    uids = [
        [(one.SeriesInstanceUID, one.SOPInstanceUID) for one in read(tmp_path / name).values()]
        for name in ("one", "two", "three")
    ]
    assert uids[0] == uids[1]
    assert not set(uids[0]) & set(uids[2])
    assert len({uid for pair in uids[0] for uid in pair}) == 6


def test_uids_depend_on_the_model_and_the_version(monkeypatch):
    record = made_record(1, True)
    first = dicomnames.result_uid(["1.2"], record, "report")
    assert dicomnames.result_uid(["1.2"], record | {"model": {"sha256": "cd"}}, "report") != first
    monkeypatch.setattr(dicomnames.cpmn, "__version__", "99")
    assert dicomnames.result_uid(["1.2"], record, "report") != first


def test_the_report_holds_decision_figures_and_warnings(write_scan, tmp_path):
    segment(write_scan(), tmp_path, marks=2)
    report = highdicom.sr.srread(tmp_path / "report.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.referenced_segment.referenced_segment_numbers for group in groups] == [[1], [2]]
    figures = {one.name.meaning: one.value for one in groups[0].get_measurements()}
    assert figures == {
        "Volume": 1.25,
        "Long axis": 30.5,
        "Attenuation Coefficient": 61.0,
        "Confidence (mean probability)": 0.8,
        "Mean attenuation above blood": 21.0,
    }
    text = report.to_json()
    for expected in ("WARNING: contrast is present", "Research use only.", "Probability of pulmonary embolism"):
        assert expected in text
    assert "Pulmonary embolism" in text


def test_the_picture_is_that_of_the_overview(write_scan, tmp_path):
    segment(write_scan(), tmp_path)
    picture = pydicom.dcmread(tmp_path / "overview.dcm")
    assert (picture.pixel_array == (200, 10, 10)).all()
    assert picture.pixel_array.shape == (30, 40, 3)
    assert "esearch use only" in picture.ImageComments
    assert picture.StudyInstanceUID == "1.2"


def test_a_broken_sequence_of_the_source_is_not_inherited(write_scan, tmp_path):
    """An empty item stands in a sequence that patient and study modules would repeat."""
    broken = pydicom.Dataset()
    tags = {"IssuerOfPatientIDQualifiersSequence": [broken], "ProcedureCodeSequence": [broken]}
    tags |= {"ReferencedStudySequence": [broken], "PatientSpeciesCodeSequence": [broken]}
    segment(write_scan(**tags), tmp_path, identity=True)
    for name, dataset in read(tmp_path).items():
        assert [keyword for keyword in tags if keyword in dataset] == [], name
        assert dataset.PatientName == "Doe^Jane", name


def test_dcmqi_reads_marks_and_figures(write_scan, tmp_path):
    labels = sitk.GetArrayFromImage(segment(write_scan(), tmp_path, marks=3))
    out = tmp_path / "read"
    out.mkdir()
    run("segimage2itkimage", "--inputDICOM", tmp_path / "prediction.dcm", "--outputDirectory", out, "-t", "nii")
    masks = [sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"{number}.nii.gz"))) for number in (1, 2, 3)]
    assert [int(np.count_nonzero(mask)) for mask in masks] == [int((labels == n).sum()) for n in (1, 2, 3)]
    run("tid1500reader", "--inputDICOM", tmp_path / "report.dcm", "--outputMetadata", out / "report.json")
    groups = json.loads((out / "report.json").read_text())["Measurements"]
    assert [group.get("ReferencedSegment") for group in groups] == [None, 1, 2, 3]
    assert groups[1]["Finding"]["CodeMeaning"] == "Embolus"


def test_a_scan_that_has_grown_is_another_result_in_the_same_series(write_scan, tmp_path):
    """DICOM allows no other content under the UID of an instance; the same slices replace."""
    scan, uids = write_scan(z=[2.5 * i for i in range(14)]), []
    last = max(scan.iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
    for out, drop in (("part", True), ("whole", False), ("again", False)):
        kept = last.read_bytes()
        if drop:
            last.unlink()
        segment(scan, tmp_path / out)
        uids.append({name: (one.SeriesInstanceUID, one.SOPInstanceUID) for name, one in read(tmp_path / out).items()})
        last.write_bytes(kept)
    part, whole, again = uids
    assert whole == again
    for name, (series, instance) in part.items():
        assert series == whole[name][0]
        assert instance != whole[name][1]
