"""What the networks of `annotate` learn from keeps the CTPA's voxels; each wrong mask has its message."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.annotate.crops import crop_ctpa
from cpmn.cohort.sheet import Patient
from cpmn.config.crop import CropConfig
from cpmn.errors import PatientError
from cpmn.files import read_json
from cpmn.volume.images import image_like, read_image, write_image
from tests.crop.test_stage import make_chest


@pytest.fixture
def ctpa(tmp_path) -> Path:
    """Converted CTPA of a drawn chest beside an NCT of fewer slices, and an outline with clot 4 between the lungs."""
    chest = make_chest()
    labels = np.zeros(chest.GetSize()[::-1], np.uint16)
    labels[20:22, 30, 33] = 4
    for name, image in (("ctpa", chest + 100), ("mask", image_like(labels, chest)), ("nct", chest[:, :, :45])):
        write_image(image, tmp_path / f"{name}.nii.gz")
    write_image(image_like(labels, chest)[:, :, :45], tmp_path / "nct_grid.nii.gz")
    return tmp_path / "ctpa.nii.gz"


def patient(ctpa: Path, **columns) -> Patient:
    return Patient.model_validate(
        {"patient_id": "p1", "ctpa": ctpa, "nct": ctpa.with_name("nct"), "label": 1, **columns}
    )


@pytest.mark.parametrize("outlined", [True, False])
def test_crops_are_the_ctpa_s_own_voxels(ctpa, tmp_path, outlined):
    row = patient(ctpa, ctpa_mask=tmp_path / "mask.nii.gz") if outlined else patient(ctpa, label=0)
    crop_ctpa(row, ctpa, tmp_path / "out", CropConfig())
    box = read_json(tmp_path / "out/crop.json")
    assert box["margin_mm"] == CropConfig().margin_mm
    for name in ("ctpa", "embolus"):
        whole = read_image(ctpa if name == "ctpa" else tmp_path / "mask.nii.gz")
        cut = read_image(tmp_path / f"out/{name}.nii.gz")
        expected = sitk.RegionOfInterest(whole, cut.GetSize(), whole.TransformPhysicalPointToIndex(cut.GetOrigin()))
        values = sitk.GetArrayFromImage(expected)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(cut), values if outlined or name == "ctpa" else 0)
    assert sitk.GetArrayFromImage(read_image(tmp_path / "out/lung.nii.gz")).any()


def test_a_mask_that_was_drawn_on_the_nct_says_so(ctpa, tmp_path):
    row = patient(ctpa, ctpa_mask=tmp_path / "nct_grid.nii.gz")
    with pytest.raises(PatientError, match=r"lies on the grid of the NCT, not on the CTPA's.*name it in nct_mask"):
        crop_ctpa(row, ctpa, tmp_path / "out", CropConfig(), nct=ctpa.with_name("nct.nii.gz"))


def test_a_mask_of_an_nct_that_there_is_not_says_so(ctpa, tmp_path):
    row = patient(ctpa, nct=None, nct_mask=tmp_path / "mask.nii.gz")
    with pytest.raises(PatientError, match=r"an nct_mask is given without an nct.*name it ctpa_mask"):
        crop_ctpa(row, ctpa, tmp_path / "out", CropConfig())


def test_an_empty_mask_of_a_patient_with_pe_is_refused(ctpa, tmp_path):
    write_image(read_image(tmp_path / "mask.nii.gz") * 0, tmp_path / "empty.nii.gz")
    with pytest.raises(PatientError, match=r"patient p1: .*mask"):
        crop_ctpa(patient(ctpa, ctpa_mask=tmp_path / "empty.nii.gz"), ctpa, tmp_path / "out", CropConfig())


def test_who_has_no_outline_is_refused_where_that_is_asked_for(ctpa, tmp_path):
    with pytest.raises(PatientError, match="ctpa_mask"):
        crop_ctpa(patient(ctpa), ctpa, tmp_path / "out", CropConfig(), "refuse")
