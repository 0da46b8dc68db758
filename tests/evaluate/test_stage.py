"""Evaluation of a tiny cohort whose every figure can be worked out by hand."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.artery_vein import ARTERY, VEIN
from cpmn.cohort.sheet import Patient
from cpmn.errors import CpmnError, PatientError
from cpmn.evaluate.origin import training_facts
from cpmn.files import read_json, write_json, write_table
from cpmn.model import ensemble
from cpmn.model.modelfiles import RunFiles
from cpmn.model.seal import verified
from cpmn.volume.images import read_image, same_grid, write_image

CONTRACT = (
    "patient_id,split,fold,label,score,threshold,decision,dice,reference_ml,predicted_ml,lesions,lesions_found,"
    "false_positives,reference,indeterminate,excluded_reason"
)
CLOT_ML = 2 * 4 * 6 * 2.5 / 1000


def test_patients_csv_keeps_the_contract(tree):
    folder = tree.evaluate()
    assert (folder / "patients.csv").read_text().splitlines()[0] == CONTRACT
    rows = tree.rows(folder)
    assert list(rows) == ["v0pe", "v0no", "v1pe", "v1no", "t1", "t2", "t3", "t4"]
    assert [rows[name]["split"] for name in ("v0pe", "v1no", "t1")] == ["validation", "validation", "test"]
    assert [rows[name]["fold"] for name in ("v0pe", "v1no", "t1")] == ["0", "1", ""]


def test_figures_of_the_four_test_patients(tree):
    """Found, missed, clean and false alarm: every share is one half, Dice is (1 + 0) / 2, AUC 1 of 4 pairs + a tie."""
    figures = read_json(tree.evaluate() / "metrics.json")
    patient, voxel, lesion = figures["patient"], figures["voxel"], figures["lesion"]
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        assert (patient[name]["value"], patient[name]["n"]) == (0.5, 2), name
    assert patient["auc"]["value"] == pytest.approx(1.5 / 4)
    assert (voxel["dice"]["value"], voxel["dice"]["n"]) == (0.5, 2)
    assert voxel["dice_pooled"]["value"] == pytest.approx(2 / 3)
    assert voxel["volume_difference_ml"]["value"] == pytest.approx(-CLOT_ML / 2)
    assert voxel["false_positive_volume_ml"]["value"] == pytest.approx(CLOT_ML / 2)
    assert voxel["hd95_mm"] == {"value": 0.0, "low": None, "high": None, "n": 1}
    assert (lesion["recall"]["value"], lesion["recall"]["n"], lesion["precision"]["value"]) == (0.5, 2, 0.5)
    assert lesion["marks_within_0_mm"]["false_positives_per_scan"]["value"] == 0.25
    assert lesion["froc"]["sensitivity_at_0_5"]["value"] == 0.5
    assert figures["reference"] == "nct_truth"


def test_rows_of_the_four_test_patients(tree):
    rows = tree.rows(tree.evaluate())
    assert [rows[name]["decision"] for name in ("t1", "t2", "t3", "t4")] == ["1", "0", "0", "1"]
    assert [rows[name]["dice"] for name in ("t1", "t2", "t3")] == ["1.0", "0.0", ""]
    assert [rows[name]["lesions_found"] for name in ("t1", "t2", "t3")] == ["1", "0", "0"]
    assert rows["t4"]["false_positives"] == "1"
    assert float(rows["t1"]["reference_ml"]) == pytest.approx(CLOT_ML)
    assert len({row["threshold"] for row in rows.values()}) == 1


def test_maps_lie_on_the_native_grid(tree):
    folder = tree.evaluate()
    native = read_image(tree.results / "convert/t1/nct.nii.gz")
    prediction, cam = (read_image(folder / kind / "t1.nii.gz") for kind in ("predictions", "cam"))
    assert same_grid(prediction, native)
    assert same_grid(cam, native)
    assert prediction.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(sitk.GetArrayFromImage(prediction), tree.clot())
    activation = sitk.GetArrayFromImage(cam)
    assert activation[tree.CLOT] == pytest.approx(80 / 200, abs=0.5 / 255)
    outside = np.ones(tree.SHAPE, bool)
    outside[tree.BOX] = False
    assert not activation[outside].any()


def test_reference_is_kept_as_scored(tree):
    reference = read_image(tree.evaluate() / "reference/t1.nii.gz")
    assert np.unique(sitk.GetArrayFromImage(reference)).tolist() == [0, 5]


def test_each_validation_patient_is_scored_by_the_fold_that_did_not_train_on_it(tree):
    """Fold 1's model shifts every logit by one; standardised on its own normals, both folds agree."""
    rows = tree.rows(tree.evaluate())
    assert float(rows["v0pe"]["score"]) == pytest.approx(float(rows["v1pe"]["score"]))
    assert float(rows["v0no"]["score"]) == pytest.approx(0)


@pytest.fixture
def calls(tree, monkeypatch) -> list[int]:
    """Folds whose models have read a patient, in order."""
    predict, seen = ensemble.predict_crop, []
    monkeypatch.setattr(ensemble, "predict_crop", lambda m, nct, **o: seen.append(m.fold) or predict(m, nct, **o))
    return seen


def test_which_models_read_whom(tree, calls):
    """Validation patients by their own fold's model alone, test patients by both."""
    tree.evaluate()
    assert calls == [0, 0, 1, 1, *[0, 1] * 4]


def test_test_patients_that_predict_would_not_decide_on_are_named(tree):
    """t2 is cut by the scan; t3 has contrast medium, and v0pe, a validation patient, is not asked."""
    for name in ("t2", "v0pe"):
        crop = tree.results / f"crop/{name}/crop.json"
        write_json(crop, read_json(crop) | {"lungs_cut_by_scan": ["superior"]})
    contrast = {"evidence": "present", "from": "image"}
    write_json(tree.results / "convert/t3/nct.json", {"contrast": contrast, "scanner": None})
    rows = tree.rows(tree.evaluate())
    found = {name: row["indeterminate"] for name, row in rows.items()}
    assert (found["t1"], found["t2"], found["t3"], found["v0pe"]) == ("", "cut", "contrast", "")


def test_threshold_comes_from_validation_and_says_so(tree):
    threshold = read_json(tree.evaluate() / "metrics.json")["threshold"]
    assert set(threshold) == {"value", "rule", "target", "fitted_on", "n_pe", "n_normal"}
    assert (threshold["n_pe"], threshold["n_normal"], threshold["target"]) == (2, 2, 0.95)
    assert "validation" in threshold["fitted_on"]


def test_the_figures_say_whether_the_score_is_a_probability(tree):
    few = read_json(tree.evaluate() / "metrics.json")
    assert (few["score"]["probability"], few["patient"]["brier"]["value"]) == (False, None)
    assert "fewer than 10" in few["score"]["rule"]
    fitted = read_json(tree.evaluate(minimum_fit_patients=2) / "metrics.json")
    assert fitted["score"]["probability"]
    assert fitted["patient"]["brier"]["value"] is not None


def test_the_model_is_sealed_and_says_what_it_was_trained_on(tree):
    """Each fold trains on the other's two patients; a scan from an unknown scanner leaves the kind open."""
    write_json(tree.results / "register/v0pe/quality.json", {"passed": False, "reason": "moved"})
    for name in ("v0no", "v1pe", "v1no"):
        write_json(tree.results / f"convert/{name}/nct.json", {"scanner": {"manufacturer": "Some", "model": "One"}})
    decision = verified(RunFiles(tree.results, tree.evaluate().name))
    facts = decision.trained_on
    assert facts is not None
    assert (facts.kind, facts.n_pe, facts.n_normal, facts.version) == ("patients", 1, 2, "0.1.0")
    write_json(tree.results / "convert/v1no/nct.json", {"scanner": None})
    assert kind_of(tree) is None
    for model, kind in (("cpmn", "phantom"), ("cpmn real anatomy", "simulated")):
        scanner = {"manufacturer": "CPMN phantom", "model": model}
        write_json(tree.results / "convert/v1no/nct.json", {"scanner": scanner})
        assert kind_of(tree) == kind


def test_an_old_registration_of_a_patient_without_a_ctpa_counts_nowhere(tree):
    write_json(tree.results / "register/v0no/quality.json", {"passed": False, "reason": "moved"})
    facts = verified(RunFiles(tree.results, tree.evaluate().name)).trained_on
    assert facts is not None
    assert (facts.n_pe, facts.n_normal) == (2, 2)


def test_a_patient_whose_clots_all_lie_outside_of_the_crop_taught_nothing(tree):
    crop = tree.results / "crop/v0pe/crop.json"
    write_json(crop, read_json(crop) | {"embolus_ml": 2.0, "embolus_ml_outside": 2.0})
    facts = verified(RunFiles(tree.results, tree.evaluate().name)).trained_on
    assert facts is not None
    assert (facts.n_pe, facts.n_normal) == (1, 2)


def test_a_ctpa_alone_taught_no_network_that_reads_the_nct_alone(tree):
    """Pretraining reads the CTPAs of pairs; no rule cuts the other's, unless another variant wants it."""
    tree.evaluate()
    for path in tree.results.glob("train/cpmn/fold-*/plan.json"):
        config = {"network": {"pathways": ["nct"]}, "schedule": {"pretraining_fraction": 0.5}}
        write_json(path, read_json(path) | {"config": config})
    patients = [*tree.patients, Patient.model_validate({"patient_id": "c", "ctpa": tree.root / "ctpa", "label": 1})]
    folds = [fold | {"train": [*fold["train"], "c"]} for fold in tree.splits["folds"]]
    facts = training_facts(tree.results, "cpmn", tree.splits | {"folds": folds}, patients, {}, {})
    assert (facts.n_pe, facts.n_normal) == (2, 2)


def test_what_the_ctpa_pathway_reads_is_the_mean_of_the_last_steps(tree):
    """Two folds; one has no validation patient whose clots are outlined."""
    assert "ctpa" not in read_json(tree.evaluate() / "metrics.json")
    columns = ("step", "validation_dice_ctpa", "validation_auc_ctpa", "validation_found_ctpa")
    for fold, last in enumerate(((20, 0.6, 0.9, 0.5), (20, "", 0.7, ""))):
        rows: list[dict[str, object]] = [
            dict(zip(columns, values, strict=True)) for values in ((10, 0.1, 0.1, 0.1), last)
        ]
        write_table(tree.results / f"train/cpmn/fold-{fold}/history.csv", columns, rows)
    found = read_json(tree.evaluate() / "metrics.json")["ctpa"]
    assert found == {"split": "validation", "dice": 0.6, "auc": pytest.approx(0.8), "found": 0.5}


def kind_of(tree):
    facts = verified(RunFiles(tree.results, tree.evaluate().name)).trained_on
    return facts and facts.kind


def test_test_patients_never_move_the_decision(tree):
    """Other test scans, labels and references: every byte of decision.json stays."""
    before = (tree.evaluate() / "decision.json").read_bytes()
    tree.patients = tree.patients[:4]
    tree.add("t1", 0, marked_hu=99, truth=tree.clot(0))
    tree.add("t2", 1, marked_hu=70, truth=tree.clot(0))
    assert (tree.evaluate() / "decision.json").read_bytes() == before


def test_validation_patients_do_move_the_decision(tree):
    before = (tree.evaluate() / "decision.json").read_bytes()
    tree.patients = [patient for patient in tree.patients if patient.patient_id != "v0no"]
    tree.add("v0no", 0, marked_hu=85)
    assert (tree.evaluate() / "decision.json").read_bytes() != before


def test_calibration_patients_fit_the_decision_instead_of_validation(tree, calls):
    """Read by both folds; from then on validation patients move nothing, and figures stay those of the test."""
    tree.splits = tree.splits | {"calibration": ["c0", "c1"]}
    tree.add("c0", 0, marked_hu=70)
    tree.add("c1", 1, marked_hu=99)
    folder = tree.evaluate()
    assert calls == [0, 0, 1, 1, *[0, 1] * 6]
    threshold = read_json(folder / "metrics.json")["threshold"]
    assert (threshold["fitted_on"], threshold["n_pe"], threshold["n_normal"]) == ("calibration patients", 1, 1)
    assert read_json(folder / "metrics.json")["patients"] == 4
    assert [tree.rows(folder)[name]["split"] for name in ("c0", "c1")] == ["calibration"] * 2
    before = (folder / "decision.json").read_bytes()
    tree.patients = [patient for patient in tree.patients if patient.patient_id != "v0no"]
    tree.add("v0no", 0, marked_hu=85)
    assert (tree.evaluate() / "decision.json").read_bytes() == before
    tree.patients = [patient for patient in tree.patients if patient.patient_id != "c0"]
    tree.add("c0", 0, marked_hu=85)
    assert (tree.evaluate() / "decision.json").read_bytes() != before


def test_without_the_truth_predictions_scores_and_decision_stay(tree):
    folder = tree.evaluate()
    before = {name: (folder / name).read_bytes() for name in ("decision.json", "roc.csv", "predictions/t1.nii.gz")}
    scores = {name: row["score"] for name, row in tree.rows(folder).items()}
    shutil.rmtree(folder)
    tree.patients = [patient.model_copy(update={"nct_truth": None}) for patient in tree.patients]
    folder = tree.evaluate()
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert {name: row["score"] for name, row in tree.rows(folder).items()} == scores
    assert read_json(folder / "metrics.json")["reference"] == "label (2), propagated (2)"


def test_direct_annotation_is_preferred_to_the_propagated_label(tree):
    path = tree.root / "mask.nii.gz"
    write_image(tree.volume(tree.clot(3)), path)
    update = {"nct_truth": None, "nct_mask": path}
    tree.patients = [p.model_copy(update=update) if p.patient_id == "t1" else p for p in tree.patients]
    folder = tree.evaluate()
    assert tree.rows(folder)["t1"]["reference"] == "nct_mask"
    assert read_json(folder / "metrics.json")["reference"] == "nct_mask (1), nct_truth (3)"


def test_a_reference_on_a_rounded_grid_is_taken_and_one_without_ids_is_not(tree):
    """Other tools round a grid by hundredths of a millimetre; a background of -1 is no clot id."""
    path = tree.root / "mask.nii.gz"
    shifted = tree.volume(tree.clot(3))
    shifted.SetOrigin(np.add(shifted.GetOrigin(), 0.02).tolist())
    write_image(shifted, path)
    tree.patients = [p.model_copy(update={"nct_truth": path}) if p.patient_id == "t1" else p for p in tree.patients]
    assert tree.rows(tree.evaluate())["t1"]["reference"] == "nct_truth"
    write_image(tree.volume(tree.clot(3).astype(np.int16) - 1), path)
    with pytest.raises(PatientError, match="nct_truth does not hold clot ids"):
        tree.evaluate()


def test_reasons_in_the_table_hold_no_path(tree):
    tree.evaluate(excluded={"t2": f"patient t2: slice missing ({tree.root}/t2/DOE (JANE)/x.dcm). Export it again."})
    reason = tree.rows(tree.results / "evaluate" / "cpmn")["t2"]["excluded_reason"]
    assert reason == "patient t2: slice missing (<nct>). Export it again."


def test_truth_is_preferred_to_the_direct_annotation(tree):
    path = tree.root / "mask.nii.gz"
    write_image(tree.volume(tree.clot(3)), path)
    tree.patients = [patient.model_copy(update={"nct_mask": path}) for patient in tree.patients]
    assert tree.rows(tree.evaluate())["t1"]["reference"] == "nct_truth"


def test_failed_registration_keeps_the_patient_and_drops_the_propagated_reference(tree):
    tree.patients = [patient.model_copy(update={"nct_truth": None}) for patient in tree.patients]
    for name in ("t1", "t3"):
        write_json(tree.results / "register" / name / "quality.json", {"passed": False, "reason": "lung Dice 0.3"})
    folder = tree.evaluate()
    rows, figures = tree.rows(folder), read_json(folder / "metrics.json")
    assert rows["t1"]["decision"] == "1"
    assert (rows["t1"]["dice"], rows["t1"]["reference"]) == ("", "")
    assert rows["t3"]["reference"] == "label"  # no PE: the empty label needs no registration
    assert figures["patient"]["sensitivity"]["n"] == 2
    assert figures["voxel"]["dice"]["n"] == 1
    assert (folder / "reference/t1.nii.gz").stat().st_size == 0


def test_excluded_patient_is_listed_and_not_scored(tree):
    for path in ("crop/t2/nct.nii.gz", "convert/t2/nct.nii.gz"):
        (tree.results / path).write_bytes(b"")
    folder = tree.evaluate(excluded={"t2": "no lungs found", "v1pe": "mask is empty"})
    rows, figures = tree.rows(folder), read_json(folder / "metrics.json")
    assert (rows["t2"]["excluded_reason"], rows["t2"]["score"], rows["t2"]["decision"]) == ("no lungs found", "", "")
    assert rows["v1pe"]["excluded_reason"] == "mask is empty"
    assert rows["t2"]["split"] == "test"
    assert (figures["patient"]["sensitivity"]["n"], figures["excluded"]) == (1, 1)
    assert figures["threshold"]["n_pe"] == 1
    assert (folder / "predictions/t2.nii.gz").stat().st_size == 0


def test_training_only_patients_are_left_out_unless_excluded(tree):
    tree.splits["folds"] = [{"train": ["v1pe", "v1no"], "validation": ["v0pe", "v0no"]}]
    rows = tree.rows(tree.evaluate(excluded={"v1pe": "no lungs found"}))
    assert "v1no" not in rows
    assert (rows["v1pe"]["split"], rows["v1pe"]["score"]) == ("train", "")


def test_no_test_patients_give_undefined_figures(tree):
    tree.splits["test"] = []
    tree.patients = tree.patients[:4]
    text = (tree.evaluate() / "metrics.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["patient"]["auc"] == {"value": None, "low": None, "high": None, "n": 0}


def test_small_components_are_dropped(tree):
    folder = tree.evaluate(minimum_lesion_mm3=CLOT_ML * 1000 + 1)
    assert tree.rows(folder)["t1"]["predicted_ml"] == "0.0"


def test_no_file_holds_nan(tree):
    folder = tree.evaluate()
    for path in [*folder.glob("*.json"), *folder.glob("*.csv")]:
        assert "nan" not in path.read_text().lower(), path


def test_same_inputs_same_bytes(tree):
    folder = tree.evaluate()
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    before = {name: (folder / name).read_bytes() for name in names}
    tree.evaluate()
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_roc_points_are_those_of_the_test_patients(tree):
    lines = (tree.evaluate() / "roc.csv").read_text().splitlines()
    assert lines[:2] == ["fpr,tpr,threshold", "0.0,0.0,"]
    assert [line.rsplit(",", 1)[0] for line in lines[2:]] == ["0.5,0.0", "0.5,0.5", "1.0,1.0"]


def test_reference_on_another_grid_names_both(tree):
    path = tree.root / "truth/t1.nii.gz"
    write_image(read_image(path)[:, :, :-2], path)
    with pytest.raises(PatientError, match=r"patient t1: nct_truth is on another grid .* NCT: 24x20x6 .* not 24x20x8"):
        tree.evaluate()


def test_reference_stored_in_another_orientation_is_turned(tree):
    path = tree.root / "truth/t1.nii.gz"
    write_image(sitk.DICOMOrient(read_image(path), "RSA"), path)
    assert tree.rows(tree.evaluate())["t1"]["dice"] == "1.0"


def test_missing_model_is_a_clear_error(tree, monkeypatch):
    from cpmn.model import ensemble, inference

    monkeypatch.setattr(ensemble, "load_model", inference.load_model)
    with pytest.raises(CpmnError, match="not a model folder"):
        tree.evaluate()


def test_patient_without_any_reference_is_scored_at_patient_level(tree):
    """A PE patient whose registration failed, with neither annotation nor truth: score and decision, no Dice."""
    write_json(tree.results / "register/t1/quality.json", {"passed": False, "reason": "lung Dice 0.3"})
    tree.patients = [p.model_copy(update={"nct_truth": None}) if p.patient_id == "t1" else p for p in tree.patients]
    folder = tree.evaluate()
    assert tree.rows(folder)["t1"]["decision"] == "1"
    assert read_json(folder / "metrics.json")["reference"] == "nct_truth (3), none (1)"


@pytest.fixture
def controlled(tree):
    """Vessel masks: t1's clot lies in an artery, t4's false mark in a vein; t2 has none, t3's was left out."""
    lumen, other = tree.clot(), np.roll(tree.clot(), 2, axis=0)
    tree.add_vessels("t1", (lumen * ARTERY + other * VEIN).astype(np.uint8))
    tree.add_vessels("t4", (lumen * VEIN + other * ARTERY).astype(np.uint8))
    tree.add_vessels("t3", None)
    return tree


def test_artery_vein_ratio_stands_beside_the_score(controlled):
    """Arteries and veins are as large as the clot, of 0.12 mL: all of one and nothing of the other is marked."""
    folder = controlled.evaluate()
    rows, prior = controlled.rows(folder), 0.3 / (2 * CLOT_ML)
    assert float(rows["t1"]["artery_vein_ratio"]) == pytest.approx((1 + prior) / prior)
    assert float(rows["t4"]["artery_vein_ratio"]) == pytest.approx(prior / (1 + prior))
    assert [rows[name]["artery_vein_ratio"] for name in ("t2", "t3", "v0pe")] == ["", "", ""]
    figures = read_json(folder / "metrics.json")["artery_vein"]
    assert (figures["auc_of_ratio"]["value"], figures["auc_of_ratio"]["n"]) == (1.0, 2)
    assert (figures["auc_of_score"]["value"], figures["auc_of_score"]["n"]) == (0.0, 2)  # the false mark is brighter


def test_vessel_masks_change_no_score_and_no_other_figure(tree):
    before = tree.evaluate()
    scores, figures = tree.rows(before), read_json(before / "metrics.json")
    decision = (before / "decision.json").read_bytes()
    tree.add_vessels("t1", (tree.clot() * ARTERY + np.roll(tree.clot(), 2, axis=0) * VEIN).astype(np.uint8))
    after = tree.evaluate()
    assert (after / "decision.json").read_bytes() == decision
    with_masks = read_json(after / "metrics.json")
    assert with_masks.pop("artery_vein")["auc_of_ratio"]["value"] is None  # one patient has no AUC
    assert with_masks == figures
    assert {name: row | {"artery_vein_ratio": ""} for name, row in scores.items()} == {
        name: row | {"artery_vein_ratio": ""} for name, row in tree.rows(after).items()
    }


def test_scans_are_read_as_the_settings_say(tree, monkeypatch):
    predict, seen = ensemble.predict_crop, []
    monkeypatch.setattr(ensemble, "predict_crop", lambda m, nct, **o: seen.append(o) or predict(m, nct, **o))
    settings = {"overlap": 0.25, "mirror": True, "highest_hu": 120.0, "bfloat16": True}
    folder = tree.evaluate(**settings)
    assert seen
    assert all(options.pop("allowed").all() for options in seen)  # all of these chests is lung
    assert all(options == settings for options in seen)
    assert settings.items() <= read_json(folder / "decision.json").items()


def test_nothing_is_marked_above_the_highest_hu(tree):
    """t1's clot is drawn at 80 HU, t4's false mark at 95: the limit is on the NCT, and predict gets it too."""
    before = tree.rows(tree.evaluate())
    folder = tree.evaluate(highest_hu=85)
    rows = tree.rows(folder)
    fitted = dict.fromkeys(("score", "threshold", "indeterminate"), "")  # on the other patients too
    assert rows["t1"] | fitted == before["t1"] | fitted
    assert float(before["t4"]["predicted_ml"]) == pytest.approx(CLOT_ML)
    assert (rows["t4"]["predicted_ml"], rows["t4"]["false_positives"]) == ("0.0", "0")
    assert read_json(folder / "decision.json")["highest_hu"] == 85
