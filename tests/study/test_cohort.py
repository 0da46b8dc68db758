"""The study's patients and settings follow from the protocol alone."""

import pytest
import yaml

from cpmn.cohort.phantom import phantom_label
from cpmn.cohort.sheet import load_cohort, parse_cohort
from cpmn.cohort.splits import split_cohort
from cpmn.config.root import load_config
from cpmn.errors import CpmnError
from cpmn.files import write_json, write_table
from study.cohort import (
    MASKS,
    Part,
    Protocol,
    batches,
    load_protocol,
    own_outlines,
    phantom_config,
    phantom_name,
    settings_of,
    sheet_rows,
    workflow_config,
)
from tests.conftest import ROOT

VALUES = yaml.safe_load((ROOT / "study" / "protocol.yaml").read_text())
DIFFICULTIES = ("learnable", "mixed", "realistic")


def protocol(**changes) -> Protocol:
    return load_protocol(VALUES | changes)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_sheet_holds_each_part_at_its_size(difficulty, tmp_path):
    study = protocol(difficulty=difficulty)
    rows = sheet_rows(study)
    for name, part in study.members.items():
        labels = [row["label"] for row in rows if row["split"] == name]
        assert (labels.count("1"), labels.count("0")) == (part.pe, part.normal)
    patients = parse_cohort(list(rows[0]), rows, tmp_path / "cohort.csv")
    splits = split_cohort(patients, load_config(workflow_config(study)).train)
    assert len(splits["folds"]) == 1
    assert len(splits["test"]) == study.members["test"].pe + study.members["test"].normal


def test_patients_are_the_first_of_each_class_that_no_other_part_has():
    rows = {row["patient_id"]: row for row in sheet_rows(protocol())}
    assert [name for name in rows if name.startswith("train")] == [f"train-{n:03d}" for n in range(1, 65)]
    assert [name for name in rows if name.startswith("validation")] == [f"validation-{n:03d}" for n in range(65, 81)]
    seed = VALUES["parts"]["mixed"]["calibration"]["seed"]
    pe = [index for index in range(40) if phantom_label(seed, index)]
    found = [name for name, row in rows.items() if row["split"] == "calibration" and row["label"] == "1"]
    assert found == [f"calibration-{index + 1:03d}" for index in pe]


def test_only_training_patients_have_a_ctpa_and_none_of_them_shows_its_truth():
    for row in sheet_rows(protocol()):
        trains = row["split"] in ("train", "validation")
        assert bool(row["ctpa"]) == trains
        assert (row["nct_mask"] == row["nct_truth"]) != trains
        assert bool(row["ctpa_mask"]) == (trains and row["label"] == "1")


def test_exact_labels_are_the_truth_without_a_ctpa():
    carried, exact = sheet_rows(protocol()), sheet_rows(protocol(exact_labels=True))
    assert [row["patient_id"] for row in exact] == [row["patient_id"] for row in carried]
    assert all(row["nct_mask"] == row["nct_truth"] and not row["ctpa"] for row in exact)


def test_another_part_can_be_judged():
    judged = protocol(judged="opened")
    test = [row["patient_id"] for row in sheet_rows(judged) if row["split"] == "test"]
    assert len(test) == 150
    assert all(name.startswith("opened-") for name in test)
    with pytest.raises(CpmnError, match=r"parts.mixed: locked is missing"):
        protocol(judged="locked")


def test_a_wrong_key_is_named():
    with pytest.raises(CpmnError, match=r"parts.mixed.test.pes: is not a setting"):
        protocol(parts={"mixed": {"test": {"seed": 1, "pe": 1, "normal": 1, "pes": 1}}})


def test_a_difficulty_changes_the_recipe_and_the_phantom():
    mixed, learnable = (workflow_config(protocol(difficulty=name))["train"] for name in ("mixed", "learnable"))
    assert (mixed["schedule"]["steps"], learnable["schedule"]["steps"]) == (6600, 18000)
    assert learnable["schedule"]["learning_rate"] == mixed["schedule"]["learning_rate"]
    assert (learnable["variants"], learnable["loss"]) == (["nct_only"], mixed["loss"])
    phantom = phantom_config(protocol(), "test")
    assert (phantom.seed, phantom.difficulty, phantom.nct_spacing) == (4002, "mixed", (1.5, 1.5, 3.0))


def test_a_larger_part_only_adds_batches():
    def batched(normal: int) -> dict[str, list[str]]:
        parts = {"mixed": VALUES["parts"]["mixed"] | {"test": Part(seed=4002, pe=20, normal=normal).model_dump()}}
        rows = sheet_rows(protocol(parts=parts))
        patients = parse_cohort(list(rows[0]), rows, ROOT / "cohort.csv")
        return {name: [one.patient_id for one in batch] for name, batch in batches(patients, 10).items()}

    small, large = batched(20), batched(40)
    assert all(large[name] == batch for name, batch in small.items())
    assert max(map(len, small.values())) == 10
    assert phantom_name(small["test_0"][0]) == "phantom-001"


def test_few_are_outlined_and_draws_share_nobody():
    def outlined(**changes) -> list[str]:
        return [row["patient_id"] for row in sheet_rows(protocol(**changes)) if row["ctpa_mask"]]

    everyone = [name for name in outlined() if name.startswith("train")]
    draws = [outlined(outlined=4, draw=draw) for draw in range(3)]
    assert draws == [everyone[:4], everyone[4:8], everyone[8:12]]
    assert outlined(outlined=0) == []
    assert [row["nct"] for row in sheet_rows(protocol(outlined=4))] == [row["nct"] for row in sheet_rows(protocol())]
    with pytest.raises(CpmnError, match=r"draw 3 of 16 outlined patients: 32 training patients have PE"):
        sheet_rows(protocol(outlined=16, draw=3))


def test_a_public_set_has_ctpa_and_outlines_alone_and_its_draws_share_nobody():
    set_of_3 = {"seed": 6002, "pe": 3, "normal": 0, "phantom": {"ctpa_noise_hu": 20}}
    parts = {"mixed": VALUES["parts"]["mixed"] | {"public": set_of_3}}
    drawn = [protocol(parts=parts, public=True, outlined=0, draw=draw) for draw in range(2)]
    rows = [[row for row in sheet_rows(one) if row["patient_id"].startswith("public")] for one in drawn]
    for row in (*rows[0], *rows[1]):
        assert (row["ctpa"], row["ctpa_mask"]) != ("", "")
        assert (row["nct"], row["nct_truth"], row["split"], row["label"]) == ("", "", "train", "1")
    names = [{row["patient_id"] for row in part} for part in rows]
    assert [len(part) for part in names] == [3, 3]
    assert not names[0] & names[1]
    noise = [phantom_config(drawn[0], part).ctpa_noise_hu for part in ("public", "train")]
    assert noise == [20, 16]
    with pytest.raises(CpmnError, match=r"parts\.mixed: public is missing"):
        protocol(public=True)


def test_outlines_of_a_network_s_own_are_of_whom_nobody_outlined(tmp_path):
    write_json(tmp_path / MASKS, {"outlined": 4, "draw": 0, "own": None, "by": "label_alone"})
    (tmp_path / "train-010.nii.gz").touch()  # a PE patient that draw 0 does not outline
    (tmp_path / "train-002.nii.gz").touch()  # one that it outlines
    (tmp_path / "train-001.nii.gz").touch()  # one without PE
    asked = protocol(outlined=4, draw=0, own=tmp_path)
    rows = sheet_rows(asked)
    assert rows == sheet_rows(protocol(outlined=4, draw=0))  # no person's: the sheet names none of them
    write_table(tmp_path / "cohort.csv", list(rows[0]), rows)
    patients = load_cohort(tmp_path / "cohort.csv")
    assert own_outlines(asked, patients) == {"train-010": str(tmp_path / "train-010.nii.gz")}
    assert own_outlines(protocol(outlined=4, draw=0), patients) == {}


@pytest.mark.parametrize(
    ("draw", "folder", "message"),
    [
        (1, "{}", r"was made for \{'outlined': 4, 'draw': 0, 'own': None, 'by': 'label_alone'\}, and this run is"),
        (0, "{}/nowhere", "is not the whole path of a folder that `python -m study own` or `rule` wrote"),
        (0, "masks", "is not the whole path of a folder that `python -m study own` or `rule` wrote"),
    ],
)
def test_masks_of_another_draw_and_a_folder_that_is_none_are_refused(tmp_path, draw, folder, message):
    write_json(tmp_path / MASKS, {"outlined": 4, "draw": 0, "own": None, "by": "label_alone"})
    with pytest.raises(CpmnError, match=message):
        own_outlines(protocol(outlined=4, draw=draw, own=folder.format(tmp_path)), [])


def test_a_batch_is_set_by_what_its_stages_read():
    values = {"on_bad_patient": "exclude", "crop": {"margin_mm": 5}, "train": {}, "annotate": {"folds": 5, "steps": 9}}
    assert settings_of(values, ["annotate/crop"], 2) == {"on_bad_patient": "exclude", "crop": {"margin_mm": 5}}
    read = settings_of(values | {"evaluate": {"device": "cpu", "overlap": 0.1}}, ["annotate", "propagate"], 2)
    assert read["annotate"] == {"folds": 2, "steps": 9}
    assert read["evaluate"] == {"device": "cpu"}
    assert settings_of(values, ["convert"], 2) == {"on_bad_patient": "exclude"}
    assert settings_of(values, ["convert", "register"], 2) == {"on_bad_patient": "exclude", "crop": {"margin_mm": 5}}
