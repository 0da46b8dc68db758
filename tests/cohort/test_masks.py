"""Masks that a row names, from image files and from DICOM Segmentations."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cpmn.cohort.masks import read_ids
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError
from cpmn.volume.images import image_like
from tests.dicom.conftest import write_series as write_series  # a fixture
from tests.predict.marks import made_record, segment
from tests.predict.marks import write_scan as write_scan  # a fixture

PATIENT = Patient.model_validate({"patient_id": "p1", "nct": "/a/nct", "ctpa": "/a/ctpa", "label": 1})


def test_a_segmentation_counts_as_a_mask(write_scan, tmp_path):
    labels = segment(write_scan(), tmp_path, marks=3)
    read = read_ids(PATIENT, tmp_path / "prediction.dcm", labels, "CTPA")
    assert read.GetPixelID() == sitk.sitkUInt16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(labels))


@pytest.mark.parametrize("spaced", [True, False], ids=["spacing stated", "spacing left out"])
def test_slices_without_a_mark_need_not_be_in_it(write_scan, tmp_path, spaced):
    """Not every viewer writes how far slices are apart, and two marked ones do not tell."""
    from PIL import Image

    from cpmn.predict.dicomfiles import write_dicom

    scan = write_scan()
    native, facts = read_scan(scan, patient="p", phase="ctpa", series_uid="", config=ConvertConfig())
    marked = np.zeros(native.GetSize()[::-1], np.uint16)
    marked[3, 2:4, 3] = 1
    marked[6, 1, 5:7] = 2
    labels = image_like(marked, native)
    Image.new("RGB", (40, 30)).save(tmp_path / "overview.png")
    write_dicom(tmp_path, labels, scan, facts["series"], ConvertConfig(), made_record(2, True))
    if not spaced:
        written = pydicom.dcmread(tmp_path / "prediction.dcm")
        del written.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
        written.save_as(tmp_path / "prediction.dcm")
    read = read_ids(PATIENT, tmp_path / "prediction.dcm", native, "CTPA")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), marked)


def test_a_segmentation_of_another_scan_is_refused(write_scan, tmp_path):
    labels = segment(write_scan(), tmp_path)
    labels.SetOrigin([value + 0.4 for value in labels.GetOrigin()])
    with pytest.raises(PatientError, match="another grid than the CTPA"):
        read_ids(PATIENT, tmp_path / "prediction.dcm", labels, "CTPA")


def test_a_segmentation_that_is_not_there_or_is_cut_off_is_said(write_scan, tmp_path):
    labels = segment(write_scan(), tmp_path)
    with pytest.raises(PatientError, match=r"the mask cannot be read: .* does not exist, or is no file"):
        read_ids(PATIENT, tmp_path / "absent.dcm", labels, "CTPA")
    whole = (tmp_path / "prediction.dcm").read_bytes()
    for length in (200, 1000, len(whole) // 2, len(whole) - 5):
        (tmp_path / "cut.dcm").write_bytes(whole[:length])
        with pytest.raises(PatientError, match="the mask cannot be read"):
            read_ids(PATIENT, tmp_path / "cut.dcm", labels, "CTPA")


def test_what_is_no_segmentation_is_said(write_scan, tmp_path):
    labels = segment(write_scan(), tmp_path)
    (tmp_path / "mask.dcm").write_bytes(b"no DICOM")
    with pytest.raises(PatientError, match=r"the mask cannot be read: .* no|as a DICOM Segmentation"):
        read_ids(PATIENT, tmp_path / "mask.dcm", labels, "CTPA")
