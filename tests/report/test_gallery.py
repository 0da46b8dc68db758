"""Which outline a picture shows as the reference, and what it is called."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.sheet import Patient
from cpmn.report.gallery import _reference
from cpmn.volume.images import write_image


def reference(tmp_path, *, voxels: int, label: int, passed: bool | None = None, **named):
    """Reference and its name of a patient whose label was carried; `passed` is the registration's control."""
    values = np.zeros((2, 4, 4), np.uint8)
    values.ravel()[:voxels] = 1
    write_image(sitk.GetImageFromArray(values), tmp_path / "propagate/p/embolus.nii.gz")
    quality = {} if passed is None else {"p": {"passed": passed}}
    results: Any = SimpleNamespace(root=tmp_path, variants=["cpmn"], quality=quality)
    files = {name: tmp_path / name for name in ("nct", "ctpa", "ctpa_mask")}
    patient = Patient.model_validate({"patient_id": "p", "label": label} | files | named)
    return _reference(results, patient, (4, 4, 2))


def test_a_carried_label_is_shown(tmp_path):
    array, name = reference(tmp_path, voxels=3, label=1, passed=True)
    assert (array is not None and array.sum(), name) == (3, "propagated CTPA label")


@pytest.mark.parametrize(("voxels", "passed"), [(3, False), (0, True), (0, None)])
def test_what_a_failed_registration_carried_or_nobody_outlined_is_no_reference(tmp_path, voxels, passed):
    assert reference(tmp_path, voxels=voxels, label=1, passed=passed) == (None, "")


def test_an_outline_on_the_nct_is_shown_as_it_was_brought_there(tmp_path):
    """The file that the sheet names may be a DICOM Segmentation; a registration that failed did not move it."""
    array, name = reference(tmp_path, voxels=3, label=1, passed=False, nct_mask=tmp_path / "outline.dcm")
    assert (array is not None and array.sum(), name) == (3, "direct annotation (nct_mask)")


def test_of_a_normal_an_empty_label_is_the_reference(tmp_path):
    array, _ = reference(tmp_path, voxels=0, label=0)
    assert array is not None
    assert not array.any()
