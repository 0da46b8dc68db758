"""References of the sheet held against the NCT: recorded, refused, left out, overruled."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.roles import Role
from cpmn.cohort.sheet import Patient
from cpmn.errors import CpmnError, PatientError
from cpmn.evaluate.references import check_references
from cpmn.files import read_json
from cpmn.job.status import OnBadPatient
from cpmn.scoring.agreement import Reference, measure
from cpmn.volume.images import read_image, write_image

SIZE = (20, 40, 40)  # z, y, x, voxels of 3 mm


def image(array: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((3.0, 3.0, 3.0))
    return made


@pytest.fixture
def chest(tmp_path: Path):
    """Lung with one vessel on the right; gives a function that makes a patient with a reference of the vessel."""
    vessel = np.zeros(SIZE, np.uint16)
    vessel[5:11, 8:12, 6:10] = 7

    def make(name: str, change=lambda labels: labels, **values) -> Role:
        truth = tmp_path / f"{name}-truth.nii.gz"
        write_image(image(np.where(vessel, 40, -850).astype(np.int16)), tmp_path / "convert" / name / "nct.nii.gz")
        write_image(image(np.ascontiguousarray(change(vessel))), truth)
        row = {"patient_id": name, "nct": tmp_path / name, "label": 1, "nct_truth": truth} | values
        return Role(Patient.model_validate(row), "test", None)

    return make


def ask(roles: list[Role], folder: Path, on_bad_patient: OnBadPatient = "stop"):
    refused = check_references(roles, folder, folder / "checks.json", on_bad_patient)
    found = read_json(folder / "checks.json")
    return refused, {name: {one["check"]: one["outcome"] for one in findings} for name, findings in found.items()}


def mirrored(labels: np.ndarray) -> np.ndarray:
    return labels[:, :, ::-1]


def test_a_reference_that_fits_is_recorded_as_passed(chest, tmp_path):
    refused, found = ask([chest("a")], tmp_path)
    assert refused == set()
    assert found == {
        "a": dict.fromkeys(["mask_label", "mask_volume", "mask_clots", "mask_mirrored", "mask_tissue"], "passed")
    }


def test_a_mirrored_reference_stops_with_its_figures(chest, tmp_path):
    message = r"patient a: 0% of the mask lies in tissue as it is, 100% mirrored left to right \(.*a-truth.nii.gz\)"
    with pytest.raises(PatientError, match=message):
        ask([chest("a", mirrored)], tmp_path)


def test_all_that_is_wrong_is_said_at_once(chest, tmp_path):
    with pytest.raises(CpmnError, match=r"(?s)patient a: .*\npatient b: label is 0 .*the reference marks clots"):
        ask([chest("a", mirrored), chest("b", label=0)], tmp_path)


def test_with_exclude_the_reference_alone_is_left_out(chest, tmp_path):
    refused, found = ask([chest("a", mirrored), chest("b")], tmp_path, "exclude")
    assert refused == {"a"}
    assert found["a"] == {"mask_mirrored": "refused"}
    assert set(found["b"].values()) == {"passed"}


def test_a_person_overrules(chest, tmp_path):
    refused, found = ask([chest("a", mirrored, overrule=("mask_mirrored", "mask_tissue"))], tmp_path)
    assert refused == set()
    assert (found["a"]["mask_mirrored"], found["a"]["mask_tissue"]) == ("overruled", "overruled")


def test_an_empty_reference_with_label_1_is_warned_of(chest, tmp_path):
    assert ask([chest("a", np.zeros_like)], tmp_path)[1]["a"] == {"mask_label": "warned"}


def test_excluded_patients_and_those_without_a_reference_are_not_asked(chest, tmp_path):
    gone = Role(chest("a", mirrored).patient, "test", None, "no lungs found")
    assert ask([gone, chest("b", nct_truth=None)], tmp_path) == (set(), {})


def test_a_reference_drawn_on_the_ctpa_is_named_as_such(chest, tmp_path):
    role = chest("a", lambda labels: labels[:, 4:], ctpa=tmp_path / "a-ctpa")
    write_image(read_image(tmp_path / "a-truth.nii.gz"), tmp_path / "convert" / "a" / "ctpa.nii.gz")
    with pytest.raises(PatientError, match="nct_truth lies on the grid of the CTPA, not on the NCT's"):
        ask([role], tmp_path)


def test_records_hold_no_path(chest, tmp_path):
    role = chest("a")
    (tmp_path / "a-truth.nii.gz").write_bytes(b"no image")
    ask([role], tmp_path, "exclude")
    assert str(tmp_path) not in (tmp_path / "checks.json").read_text()


def test_a_variant_is_scored_without_what_is_refused(tree):
    """t3 has no PE and a reference with a clot; with `exclude` it counts at patient level alone."""
    write_image(tree.volume(tree.clot(2)), tree.root / "truth/t3.nii.gz")
    with pytest.raises(PatientError, match=r"patient t3: label is 0 \(no PE\) but the reference marks clots"):
        tree.evaluate()
    folder = tree.evaluate(on_bad_patient="exclude")
    assert (tree.rows(folder)["t3"]["decision"], tree.rows(folder)["t3"]["reference"]) == ("0", "")
    assert read_json(folder / "checks.json")["t3"][0]["check"] == "mask_label"
    assert read_json(folder / "metrics.json")["reference"] == "nct_truth (3), none (1)"
    assert (folder / "reference/t3.nii.gz").stat().st_size == 0


def test_of_pe_whose_reference_holds_no_clot_no_mark_is_called_false(tmp_path):
    """Such a patient is warned of and counts in no figure of voxels or lesions; of a normal every mark is false."""
    labels = np.zeros(SIZE, np.uint16)
    labels[5:11, 8:12, 6:10] = 1
    empty = image(np.zeros(SIZE, np.uint16))
    for label, lesions in ((1, False), (0, True)):
        patient = Patient.model_validate({"patient_id": "a", "nct": tmp_path / "a", "label": label})
        found = measure(patient, labels, Reference(empty, "nct_truth"), empty)
        assert (found.lesions is not None) == lesions
        assert found.predicted_ml > 0
