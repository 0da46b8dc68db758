"""Segmentations read back: as highdicom writes them, and what is none."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.dicom.segmentation import read_segmentation
from cpmn.errors import CpmnError
from cpmn.volume.images import turned_like
from tests.predict.marks import segment
from tests.predict.marks import write_scan as write_scan  # a fixture

SCAN = sitk.Image(4, 4, 4, sitk.sitkInt16)


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0], [0, 1, 0, -1, 0, 0]])
def test_segments_lie_where_they_were_marked(write_scan, tmp_path, orientation):
    labels = segment(write_scan(ImageOrientationPatient=orientation), tmp_path, marks=3)
    read = turned_like(read_segmentation(tmp_path / "prediction.dcm", labels), labels)
    assert read.GetSize() == labels.GetSize()
    np.testing.assert_allclose(read.GetOrigin(), labels.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(read.GetSpacing(), labels.GetSpacing(), atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(labels))


def test_a_slice_of_a_scan_is_no_segmentation(write_scan):
    path = next(write_scan().iterdir())
    with pytest.raises(CpmnError, match="cannot be read as a DICOM Segmentation"):
        read_segmentation(path, SCAN)


def test_what_is_no_dicom_is_said(tmp_path):
    (tmp_path / "mask.dcm").write_bytes(b"no DICOM")
    with pytest.raises(CpmnError, match=r"mask\.dcm cannot be read as a DICOM Segmentation"):
        read_segmentation(tmp_path / "mask.dcm", SCAN)
