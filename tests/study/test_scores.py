"""A locked cohort is read once; outlines are held against the phantom's truth."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.root import load_config
from cpmn.errors import CpmnError
from cpmn.files import write_json, write_table
from cpmn.model.plan import PLAN_FILE
from cpmn.volume.images import write_image
from study import scores
from study.cohort import MASKS
from study.few import OUTLINERS
from study.scores import dice_visible, measure_outlines, named, read_once
from study.tables import PATIENTS, RUNS, read


def folder_of(tmp_path, teacher_hard=0.0, **masks):
    """Results of a study with two locked patients, one of them excluded, two pairs that nobody outlined, and one
    outlined."""
    write_json(tmp_path / MASKS, {"outlined": 4, "draw": 2, "own": None} | masks)
    plan = {"config": {"sampling": {"hard_fraction": teacher_hard}}}
    if masks.get("own") != "rule":
        write_json(tmp_path / "results/annotate/fold-0" / PLAN_FILE, plan)
    rows = [
        {"patient_id": "few-007", "nct": "few/nct", "label": 1, "split": "test"},
        {"patient_id": "few-008", "nct": "few/nct8", "label": 0, "split": "test"},
        {"patient_id": "train-001", "nct": "a/nct", "ctpa": "a/ctpa", "label": 1, "split": "train"},
        {"patient_id": "train-002", "nct": "b/nct", "ctpa": "b/ctpa", "label": 1, "split": "train"},
        {"patient_id": "train-003", "nct": "c/nct", "ctpa": "c/ctpa", "ctpa_mask": "", "label": 1, "split": "train"},
    ]
    rows[-1]["ctpa_mask"] = "c/ctpa_mask.nii.gz"
    write_table(tmp_path / "cohort.csv", ["patient_id", "ctpa", "nct", "ctpa_mask", "label", "split"], rows)
    for name, passed in (("few-007", True), ("few-008", False)):
        write_json(tmp_path / "results/crop" / name / "status.json", {"passed": passed})
    return tmp_path / "results"


@pytest.mark.parametrize(
    ("variant", "masks", "name"),
    [
        ("nct_only", {}, ("annotate-k4-wall-plain", 2)),
        ("label_alone", {}, ("label_alone-k4-wall-plain", 2)),
        ("nct_only", {"own": "label_alone"}, ("own-k4-wall-plain", 2)),
        ("nct_only", {"own": "rule", "outlined": 0}, ("rule-k0-wall-plain", 2)),
        ("nct_only", {"outlined": None}, ("nct_only-wall-plain", 0)),
        ("nct_only_hard", {}, ("annotate-k4-wall", 2)),
        ("nct_only_hard", {"teacher_hard": 0.25}, ("annotate_hard-k4-wall", 2)),
        ("nct_only_hard", {"own": "label_alone_hard"}, ("own-k4-wall", 2)),
        ("nct_only_hard", {"outlined": None}, ("nct_only-wall", 0)),
        ("label_alone_long_hard", {}, ("label_alone_long-k4-wall", 2)),
        ("nct_only_long_hard", {"teacher_hard": 0.25}, ("annotate_hard_long-k4-wall", 2)),
        ("nct_only_hard_unsimulated", {"teacher_hard": 0.25}, ("annotate_hard-k4-wall-unsimulated", 2)),
        ("label_alone_hard_unsimulated", {}, ("label_alone-k4-wall-unsimulated", 2)),
        ("label_alone_long_hard_unsimulated", {}, ("label_alone_long-k4-wall-unsimulated", 2)),
        ("nct_only_hard_unsimulated", {"own": "label_alone_hard_unsimulated"}, ("own-k4-wall-unsimulated", 2)),
        ("nct_only_hard_unsimulated", {"outlined": None}, ("nct_only-wall-unsimulated", 0)),
        ("nct_only_long_hard", {"outlined": None}, ("nct_only_long-wall", 0)),
        ("nct_only_hard-s2", {"outlined": None}, ("nct_only-wall", 2)),
    ],
)
def test_a_training_is_named_by_who_outlined_the_others(tmp_path, variant, masks, name):
    assert named(folder_of(tmp_path, **masks), variant) == name


@pytest.mark.parametrize(
    ("variant", "by"),
    [("nct_only_hard", "label_alone"), ("label_alone", "label_alone"), ("label_alone", "rule")],
    ids=["another's", "the label alone", "the label alone beside the rule"],
)
def test_who_teaches_itself_learns_from_its_own_kind(tmp_path, variant, by):
    with pytest.raises(CpmnError, match=f"{variant} does not learn from its own outlines, where {by} outlined"):
        named(folder_of(tmp_path, own=by), variant)


def test_who_is_judged_may_lie_in_another_folder(tmp_path, monkeypatch):
    """The patients that preprocessing passed there are read, not those of the training's own folder."""
    trained, judged = folder_of(tmp_path / "trained"), folder_of(tmp_path / "judged")
    write_json(judged / "crop/few-008/status.json", {"passed": True})
    monkeypatch.setattr(scores, "load_folds", lambda folder, *_: folder)
    monkeypatch.setattr(scores, "cost", lambda *_, **__: {})
    monkeypatch.setattr(scores, "_row", lambda patient, crops, models, _: {"patient_id": f"{crops} {models}"})
    assert read_once(trained, "nct_only", load_config({}), tmp_path / "tables", judged) == (2, 0)
    assert set(read(PATIENTS, tmp_path / "tables")["patient_id"]) == {f"{judged} {trained / 'train/nct_only'}"}


def test_dice_of_visible_clots_leaves_out_what_nobody_can_tell():
    """Clot 1 stands out and half of it is marked; clot 2 is isodense, marked or not."""
    ids = np.array([[1, 1, 2, 2, 0]])
    clots = [{"id": 1, "nct_hu_over_blood": -9.0}, {"id": 2, "nct_hu_over_blood": 7.0}]
    for marked in ([1, 0, 0, 0, 0], [1, 0, 1, 1, 0]):
        assert dice_visible(np.array([marked]) > 0, ids, clots) == pytest.approx(2 / 3)
    assert dice_visible(np.array([[1, 0, 0, 0, 1]]) > 0, ids, clots) == pytest.approx(2 / 4)
    assert np.isnan(dice_visible(ids > 0, np.where(ids == 2, 2, 0), clots))


def test_a_locked_cohort_is_read_once_but_for_those_excluded(tmp_path, monkeypatch):
    results, tables = folder_of(tmp_path), tmp_path / "tables"
    monkeypatch.setattr(scores, "load_folds", lambda *_: {})
    monkeypatch.setattr(scores, "_row", lambda patient, *_: {"patient_id": patient.patient_id, "label": patient.label})
    for name in ("train/nct_only", "train/label_alone", "annotate"):
        steps = [{"step": 1000, "seconds": 60}, {"step": 3000, "seconds": 180}]
        write_table(results / name / "fold-0/history.csv", ["step", "seconds"], steps)
    for variant in ("nct_only", "label_alone"):
        assert read_once(results, variant, load_config({}), tables) == (1, 1)
    assert list(read(PATIENTS, tables)["run"]) == ["annotate-k4-wall-plain-s2", "label_alone-k4-wall-plain-s2"]
    taken = read(RUNS, tables).set_index("variant")
    assert list(taken.loc["annotate-k4-wall-plain", ["steps", "training_minutes"]]) == [6000, 6.0]  # and its teacher's
    assert list(taken.loc["label_alone-k4-wall-plain", ["steps", "training_minutes"]]) == [3000, 3.0]
    with pytest.raises(CpmnError, match=r"holds label_alone-k4-wall-plain, draw 2: a locked cohort is read once"):
        read_once(results, "label_alone", load_config({}), tables)


def outline(path, voxels: int):
    values = np.zeros((1, 1, 8), np.uint8)
    values[..., :voxels] = 1
    write_image(sitk.GetImageFromArray(values), path)
    write_json(path.with_name("phantom.json"), {"clots": [{"id": 1, "age": "acute"}, {"id": 2, "age": "chronic"}]})


def test_outlines_of_the_rule_are_held_against_the_truth_where_they_lie(tmp_path):
    results = folder_of(tmp_path, own="rule", outlined=0, folder=str(tmp_path / "rule"))
    row = {"patient_id": "train-001", "nct": "a/nct", "ctpa": "a/ctpa", "ctpa_mask": ""}
    write_table(tmp_path / "cohort.csv", [*row, "label", "split"], [row | {"label": 1, "split": "train"}])
    for path, voxels in (("rule/train-001.nii.gz", 8), ("a/ctpa_mask.nii.gz", 4), ("a/nct_truth.nii.gz", 4)):
        outline(tmp_path / path, voxels)
    outline(results / "propagate/train-001/embolus.nii.gz", 4)
    write_json(results / "crop/train-001/status.json", {"passed": True})
    found = measure_outlines(results, tmp_path / "tables")
    assert (found["by"], found["patients"], found["right"], found["dice_nct"]) == ("rule", 1, 0.5, 1.0)


def test_outlines_are_held_against_the_truth_of_whom_no_person_outlined(tmp_path):
    results = folder_of(tmp_path)
    for name, place, drawn, carried in (("train-001", "a", 8, 2), ("train-002", "b", 4, 4)):
        write_json(results / "crop" / name / "status.json", {"passed": True})
        outline(tmp_path / place / "ctpa_mask.nii.gz", 4)
        outline(tmp_path / place / "nct_truth.nii.gz", 4)
        outline(results / "annotate" / name / "embolus.nii.gz", drawn)
        outline(results / "propagate" / name / "embolus.nii.gz", carried)
    found = measure_outlines(results, tmp_path / "tables")
    assert found["patients"] == 2
    assert found["right"] == pytest.approx(8 / 12, abs=1e-4)  # of 12 voxels outlined
    assert found["dice_ctpa"] == found["dice_nct"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
    measure_outlines(results, tmp_path / "tables")
    assert len(read(OUTLINERS, tmp_path / "tables")) == 1


@pytest.mark.parametrize(
    ("own", "by"),
    [
        ("label_alone", "own-wall-plain"),
        ("label_alone_hard", "own-wall"),
        ("label_alone_hard_unsimulated", "own-wall-unsimulated"),
    ],
)
def test_outlines_of_a_network_that_teaches_itself_are_named_by_its_recipe(tmp_path, own, by):
    results = folder_of(tmp_path, own=own)
    row = {"patient_id": "train-001", "nct": "a/nct", "ctpa": "a/ctpa", "ctpa_mask": ""}
    write_table(tmp_path / "cohort.csv", [*row, "label", "split"], [row | {"label": 1, "split": "train"}])
    for path in ("a/nct_truth.nii.gz", "results/propagate/train-001/embolus.nii.gz"):
        outline(tmp_path / path, 4)
    write_json(results / "crop/train-001/status.json", {"passed": True})
    found = measure_outlines(results, tmp_path / "tables")
    assert (found["by"], found["patients"], found["right"], found["dice_nct"]) == (by, 1, 1.0, 1.0)


def test_where_all_training_patients_are_outlined_it_is_of_those_who_validate(tmp_path):
    results = folder_of(tmp_path, outlined=32)
    rows = [
        {"patient_id": name, "nct": "a/nct", "ctpa": "a/ctpa", "ctpa_mask": mask, "label": 1, "split": split}
        for name, mask, split in (("train-001", "a/ctpa_mask.nii.gz", "train"), ("validation-001", "", "validation"))
    ]
    write_table(tmp_path / "cohort.csv", list(rows[0]), rows)
    write_json(results / "crop/validation-001/status.json", {"passed": True})
    for path in ("a/ctpa_mask", "a/nct_truth"):
        outline(tmp_path / f"{path}.nii.gz", 4)
    for stage in ("annotate", "propagate"):
        outline(results / stage / "validation-001/embolus.nii.gz", 4)
    found = measure_outlines(results, tmp_path / "tables")
    assert (found["outlined"], found["patients"], found["dice_ctpa"]) == (32, 1, 1.0)


def test_acute_and_chronic_clots_are_counted_apart(tmp_path):
    """Of 14 voxels of acute clot in two patients 8 are outlined, of 2 of chronic clot none."""
    results = folder_of(tmp_path)
    for name, place in (("train-001", "a"), ("train-002", "b")):
        write_json(results / "crop" / name / "status.json", {"passed": True})
        for path in (tmp_path / place / "nct_truth.nii.gz", results / "propagate" / name / "embolus.nii.gz"):
            outline(path, 4)
        outline(results / "annotate" / name / "embolus.nii.gz", 4)
        outline(tmp_path / place / "ctpa_mask.nii.gz", 8)
    clots = np.array([[[1, 1, 1, 1, 1, 1, 2, 2]]], np.uint8)
    write_image(sitk.GetImageFromArray(clots), tmp_path / "a/ctpa_mask.nii.gz")
    found = measure_outlines(results, tmp_path / "tables")
    assert (found["acute"], found["chronic"]) == (pytest.approx(8 / 14, abs=1e-4), 0.0)
    assert found["right"] == 1.0
