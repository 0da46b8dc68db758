"""`cpmn score` on a folder of masks."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.errors import CpmnError, PatientError
from cpmn.scoring.folder import score_predictions
from cpmn.volume.images import write_image


def cube(first: int, value: int = 1) -> sitk.Image:
    mask = np.zeros((6, 12, 20), np.uint8)
    mask[1:4, 2:6, first : first + 4] = value
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing((1.0, 1.0, 2.0))
    return image


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Two PE patients and a normal one, with predictions: half right, absent, and clean."""
    write_image(cube(4, value=3), tmp_path / "truth/a.nii.gz")
    write_image(cube(4, value=3), tmp_path / "truth/b.nii.gz")
    write_image(cube(6), tmp_path / "predictions/a.nii.gz")
    write_image(cube(30), tmp_path / "predictions/c.nii.gz")
    rows = ["a,,x,m.nii.gz,1,truth/a.nii.gz", "b,,y,m.nii.gz,1,truth/b.nii.gz", "c,,z,,0,"]
    sheet = tmp_path / "cohort.csv"
    sheet.write_text("\n".join(["patient_id,ctpa,nct,ctpa_mask,label,nct_truth", *rows]) + "\n")
    return sheet


def test_figures_of_known_masks(cohort):
    figures = score_predictions(cohort.parent / "predictions", cohort)
    assert figures["voxel"]["dice"]["value"] == 0.5
    assert (figures["patient"]["sensitivity"]["value"], figures["patient"]["sensitivity"]["n"]) == (1.0, 1)
    assert figures["patient"]["specificity"]["value"] == 1.0
    assert figures["lesion"]["recall"]["value"] == 1.0
    assert figures["voxel"]["false_positive_volume_ml"]["value"] == 0.0
    assert figures["patient"]["brier"]["value"] is None  # a volume is not a probability


def test_patients_without_a_prediction_are_named(cohort):
    (cohort.parent / "predictions/b.nii.gz").touch()  # as `evaluate` leaves it for a patient who was excluded
    figures = score_predictions(cohort.parent / "predictions", cohort)
    assert (figures["scored"], figures["not_scored"]) == (["a", "c"], ["b"])
    assert figures["reference"] == "label (1), nct_truth (1)"


def test_given_scores_decide(cohort):
    (cohort.parent / "predictions/scores.csv").write_text("patient_id,score,decision\na,0.2,0\nc,0.4,1\n")
    figures = score_predictions(cohort.parent / "predictions", cohort)
    assert figures["patient"]["sensitivity"]["value"] == 0.0
    assert figures["patient"]["specificity"]["value"] == 0.0
    assert figures["patient"]["auc"]["value"] == 0.0
    assert figures["score_source"] == "scores.csv"


def test_scores_without_decisions_give_auc_only(cohort):
    path = cohort.parent / "other.csv"
    path.write_text("patient_id,score\na,0.9\nc,0.4\n")
    figures = score_predictions(cohort.parent / "predictions", cohort, scores=path)
    assert figures["patient"]["auc"]["value"] == 1.0
    assert figures["patient"]["sensitivity"]["value"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,score\na,0.9\n", "has no score of c"),
        ("patient_id,score\na,high\nc,0.1\n", "could not convert"),
        ("patient_id,value\na,0.9\nc,0.1\n", "has no column score"),
        ("patient_id;score\na;0.9\nc;0.1\n", "is separated by semicolons"),
        ("patient_id,score\na,0.9\nc,0.1\na,0.2\n", "patient a stands in 2 rows"),
        ("patient_id,score\na,nan\nc,0.1\n", "the score nan is not a finite number"),
        ("patient_id,score,decision\na,0.9,2\nc,0.1,0\n", "the decision 2 is neither 0 nor 1"),
        ("patient_id,score\na,0.9\nc,0.1\nJ\xfcrgen,1\n", "cannot be read as UTF-8 CSV"),
    ],
)
def test_bad_scores_say_what_is_wrong(cohort, text, message):
    path = cohort.parent / "other.csv"
    path.write_text(text, encoding="cp1252")
    with pytest.raises(CpmnError, match=message):
        score_predictions(cohort.parent / "predictions", cohort, scores=path)


def test_missing_scores_file_is_an_error(cohort):
    with pytest.raises(CpmnError, match="does not exist"):
        score_predictions(cohort.parent / "predictions", cohort, scores=cohort.parent / "nowhere.csv")


def test_folder_without_masks_is_an_error(cohort):
    with pytest.raises(CpmnError, match="holds no mask"):
        score_predictions(cohort.parent / "truth/..", cohort)


def test_prediction_on_another_grid_is_an_error(cohort):
    write_image(cube(6)[:-1, :, :], cohort.parent / "predictions/a.nii.gz")
    message = r"patient a: nct_truth is on another grid than the prediction: 20x12x6.*, not 19x12x6"
    with pytest.raises(PatientError, match=message):
        score_predictions(cohort.parent / "predictions", cohort)


def test_a_reference_of_clots_in_a_patient_without_pe(cohort):
    write_image(cube(4), cohort.parent / "truth/c.nii.gz")
    sheet = cohort.read_text()
    cohort.write_text(sheet.replace("c,,z,,0,", "c,,z,,0,truth/c.nii.gz"))
    with pytest.raises(PatientError, match=r"patient c: label is 0 \(no PE\) but the reference marks clots"):
        score_predictions(cohort.parent / "predictions", cohort)
    known = sheet.replace("nct_truth\n", "nct_truth,overrule\n").replace(
        "c,,z,,0,", "c,,z,,0,truth/c.nii.gz,mask_label"
    )
    cohort.write_text(known)
    assert score_predictions(cohort.parent / "predictions", cohort)["lesion"]["recall"]["n"] == 2


def test_a_probability_is_no_mask(cohort):
    soft = sitk.Cast(cube(6), sitk.sitkFloat32) * 0.3
    write_image(soft, cohort.parent / "predictions/a.nii.gz")
    with pytest.raises(PatientError, match=r"patient a: the prediction is no mask .*a threshold first"):
        score_predictions(cohort.parent / "predictions", cohort)


def test_perfect_masks_have_perfect_figures(cohort):
    write_image(cube(4), cohort.parent / "predictions/b.nii.gz")
    write_image(cube(4), cohort.parent / "predictions/a.nii.gz")
    voxel = score_predictions(cohort.parent / "predictions", cohort)["voxel"]
    assert (voxel["dice"]["value"], voxel["hd95_mm"]["value"], voxel["nsd"]["value"]) == (1.0, 0.0, 1.0)


def dots(*values: int) -> sitk.Image:
    """Clots of one voxel each, apart from each other."""
    mask = np.zeros((6, 12, 40), np.uint8)
    for index, value in enumerate(values):
        mask[2, 4, 2 * index] = value
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing((2.0, 2.0, 2.0))
    return image


@pytest.mark.parametrize("column", ["nct_truth", "nct_mask"])
@pytest.mark.parametrize(
    ("values", "split"), [pytest.param(range(1, 20), 0, id="ids"), pytest.param([1] * 19, 19, id="one value")]
)
def test_two_clots_of_many_are_found_whether_the_reference_has_ids_or_one_value(tmp_path, column, values, split):
    write_image(dots(*values), tmp_path / "reference.nii.gz")
    write_image(dots(1, 1), tmp_path / "predictions/a.nii.gz")
    row = f"a,,x,m.nii.gz,1,{tmp_path}/reference.nii.gz"
    (tmp_path / "cohort.csv").write_text(f"patient_id,ctpa,nct,ctpa_mask,label,{column}\n{row}\n")
    figures = score_predictions(tmp_path / "predictions", tmp_path / "cohort.csv")
    assert figures["lesion"]["recall"]["value"] == pytest.approx(2 / 19)
    assert figures["split_references"] == ({"a": split} if split else {})
