"""The outline as a DICOM Segmentation: read back as a mask, named after nobody."""

import logging
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.annotate.segments import write_segmentation
from cpmn.cohort.masks import read_ids
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import image_like
from tests.cohort.test_masks import PATIENT
from tests.dicom.conftest import write_series as write_series  # a fixture
from tests.predict.marks import write_scan as write_scan  # a fixture
from tests.test_identifiers import IDENTIFYING


def outlined(scan: Path, path: Path, pieces: int = 2, networks: str = "ab") -> tuple[sitk.Image, bool]:
    native, facts = read_scan(scan, patient="p", phase="ctpa", series_uid="", config=ConvertConfig())
    marked = np.zeros(native.GetSize()[::-1], np.uint16)
    for number in range(1, pieces + 1):
        marked[2 * number, 2, 1:4] = number
    outline = image_like(marked, native)
    return outline, write_segmentation(path, outline, scan, facts["series"], ConvertConfig(), networks)


@pytest.mark.parametrize("pieces", [0, 2])
def test_a_corrected_file_is_a_mask_again(write_scan, tmp_path, pieces):
    outline, written = outlined(write_scan(), tmp_path / "embolus.dcm", pieces)
    assert written
    read = read_ids(PATIENT, tmp_path / "embolus.dcm", outline, "CTPA")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(outline))
    segments = highdicom.seg.segread(tmp_path / "embolus.dcm").SegmentSequence
    assert len(segments) == max(1, pieces)
    assert all("research use only" in one.SegmentLabel for one in segments)


def test_the_same_networks_replace_it_and_others_do_not(write_scan, tmp_path):
    scan = write_scan()
    for name, networks in (("a", "ab"), ("b", "ab"), ("c", "cd")):
        outlined(scan, tmp_path / f"{name}.dcm", networks=networks)
    uids = [highdicom.seg.segread(tmp_path / f"{name}.dcm").SOPInstanceUID for name in "abc"]
    assert uids[0] == uids[1] != uids[2]


def test_nobody_is_named(write_scan, tmp_path):
    outlined(write_scan(**IDENTIFYING), tmp_path / "embolus.dcm")
    content = (tmp_path / "embolus.dcm").read_bytes()
    assert [k for k, text in IDENTIFYING.items() if not k.endswith("UID") and text.encode() in content] == []


def test_an_image_file_gives_none_and_an_old_one_goes(write_scan, tmp_path):
    path = tmp_path / "embolus.dcm"
    outline, _ = outlined(write_scan(), path)
    assert not write_segmentation(path, outline, tmp_path / "ctpa.nii.gz", None, ConvertConfig(), "ab")
    assert not path.exists()


def test_a_scan_that_lacks_tags_gives_none_and_the_log_says_which(write_scan, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        _, written = outlined(write_scan(StudyInstanceUID=None), tmp_path / "embolus.dcm")
    assert not written
    assert "no embolus.dcm: tags of the CTPA are missing or wrong: no StudyInstanceUID" in caplog.text
