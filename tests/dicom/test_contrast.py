"""Contrast medium told from the image, where the tags are silent or alike."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom import contrast
from cpmn.dicom.contrast import contrast_in_image
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import image_like, read_image


def convert(source: Path, phase: str = "nct"):
    return read_scan(source, patient="p1", phase=phase, series_uid="", config=ConvertConfig())


@pytest.fixture
def study(phantom, tmp_path) -> Path:
    """Both phases of the phantom in one folder, their tags silent about contrast."""
    for phase in ("nct", "ctpa"):
        shutil.copytree(phantom / phase, tmp_path / "study" / phase)
    retag(tmp_path / "study", SeriesDescription="Thorax", ContrastBolusAgent="", ContrastBolusRoute="")
    return tmp_path / "study"


def retag(folder: Path, **tags) -> None:
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


@pytest.mark.parametrize(("phase", "evidence"), [("nct", "absent"), ("ctpa", "present")])
def test_phantom_by_its_image(study, phantom, phase, evidence):
    image, facts = convert(study, phase)
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(convert(phantom / phase, phase)[0]))
    assert facts["chosen_because"] == "first by the rule 'contrast as expected'"
    assert facts["contrast"]["evidence"] == evidence
    assert facts["contrast"]["from"] == "image"
    assert (facts["contrast"]["blood_hu"] > 110) == (evidence == "present")
    assert facts["rejected"][0]["series"].endswith(f"contrast {({'absent', 'present'} - {evidence}).pop()})")
    assert facts["warnings"] == []


def assert_told_apart_by_image(study: Path) -> None:
    """What was chosen as the NCT has no contrast, what was rejected has."""
    _, facts = convert(study)
    assert (facts["contrast"]["evidence"], facts["contrast"]["from"]) == ("absent", "image")
    (rejected,) = facts["rejected"]
    assert rejected["series"].endswith("contrast present)")


def test_an_agent_copied_to_every_series_does_not_settle_it(study):
    retag(study, ContrastBolusAgent="Ultravist", ContrastBolusRoute="IV")
    assert_told_apart_by_image(study)


@pytest.mark.parametrize("description", ["CHEST W/WO", "WITHOUT AND WITH CONTRAST", "Thorax nativ", "CTPA 1.25"])
def test_the_image_overrules_what_both_series_are_called(study, description):
    retag(study, SeriesDescription=description)
    assert_told_apart_by_image(study)


def test_names_that_are_exchanged_do_not_exchange_the_phases(study):
    retag(study / "nct", SeriesDescription="POST 6 mm")
    retag(study / "ctpa", SeriesDescription="PRE 3.5 mm ohne KM")
    assert_told_apart_by_image(study)


def test_bone_does_not_look_like_contrast(phantom):
    """Ribs, spine and sternum of 1,000 HU and more."""
    image, _ = convert(phantom / "nct")
    hu = sitk.GetArrayFromImage(image)
    hu[hu > 110] += 800
    assert contrast_in_image(image_like(hu, image)).evidence == "absent"


@pytest.mark.parametrize(("shift", "evidence"), [(0, "absent"), (30, "unknown"), (150, "present")])
def test_between_is_unknown(phantom, shift, evidence):
    image, _ = convert(phantom / "nct")
    hu = sitk.GetArrayFromImage(image)
    hu[hu > 0] += shift
    assert contrast_in_image(image_like(hu, image)).evidence == evidence


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["lung_pet_ct_dx/A0001", "lung_pet_ct_dx/A0002", "cip/ct-64Dicom"])
def test_real_chests_without_contrast(real_data, name):
    found = contrast_in_image(convert(real_data / name)[0])
    assert found.evidence == "absent"
    assert 40 < (found.blood_hu or 0) < 80


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "evidence"), [("3DCT_lung", "unknown"), ("3DCT_lung_baseline_small", "absent")])
def test_half_a_chest_without_contrast(real_data, name, evidence):
    image = sitk.DICOMOrient(read_image(real_data / f"hemithorax_pair/{name}.mha"), "LPS")
    assert contrast_in_image(image).evidence == evidence  # the first holds hardly any soft tissue between lungs


@pytest.mark.real_data
def test_real_contrast(real_data, monkeypatch):
    """The scan is cut to the heart, where no lungs are found: what is as dense as lung stands for them."""
    image = sitk.DICOMOrient(read_image(real_data / "pulmonary_artery_cta/ct_cropped.nii.gz"), "LPS")
    assert contrast_in_image(image).evidence == "unknown"
    lungs = sitk.BinaryThreshold(sitk.SmoothingRecursiveGaussian(image, [2.0] * 3), -960, -500)
    monkeypatch.setattr(contrast, "segment_lungs", lambda *arguments, **options: lungs)
    assert contrast_in_image(image).evidence == "present"
