from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmn.cohort.roles import teaching_nobody
from cpmn.cohort.sheet import Patient
from cpmn.cohort.splits import split_cohort
from cpmn.config.train import TrainConfig
from cpmn.errors import CpmnError


def settings_of(**changes: float) -> TrainConfig:
    return TrainConfig.model_validate(changes)


def patient(name: str, label: int, split: str = "", group: str = "") -> Patient:
    return Patient.model_validate(
        {"patient_id": name, "nct": Path("nct"), "label": label, "split": split, "group": group}
    )


def cohort(pe: int, normals: int) -> list[Patient]:
    return [patient(f"p{i}", 1) for i in range(pe)] + [patient(f"n{i}", 0) for i in range(normals)]


def pe_count(ids: list[str]) -> int:
    return sum(name.startswith("p") for name in ids)


def test_the_demo_holds_two_of_each_class_for_testing():
    splits = split_cohort(cohort(6, 6), settings_of())
    (fold,) = splits["folds"]
    assert (len(splits["test"]), pe_count(splits["test"])) == (4, 2)
    assert (len(fold["validation"]), pe_count(fold["validation"])) == (2, 1)
    assert (len(fold["train"]), pe_count(fold["train"])) == (6, 3)
    assert splits["seed"] == 0
    assert splits["method"] == "test by ranked hashes; one validation split of 0.25 by ranked hashes"


@settings(max_examples=60, deadline=None)
@given(pe=st.integers(3, 30), normals=st.integers(3, 30), folds=st.integers(1, 8), seed=st.integers(0, 9))
def test_every_patient_has_its_place_in_every_fold(pe, normals, folds, seed):
    patients = cohort(pe, normals)
    splits = split_cohort(patients, settings_of(folds=folds, seed=seed))
    everyone = {p.patient_id for p in patients}
    for fold in splits["folds"]:
        parts = [*splits["test"], *fold["train"], *fold["validation"]]
        assert len(parts) == len(everyone)
        assert set(parts) == everyone
        for part in (splits["test"], fold["train"], fold["validation"]):
            assert 0 < pe_count(part) < len(part)
    if folds > 1:
        held = [name for fold in splits["folds"] for name in fold["validation"]]
        assert sorted(held) == sorted(everyone - set(splits["test"]))
        rest = [name for name in everyone if name not in splits["test"]]
        assert len(splits["folds"]) == min(folds, pe_count(rest), len(rest) - pe_count(rest))


@settings(max_examples=40, deadline=None)
@given(pe=st.integers(3, 12), normals=st.integers(3, 12), random=st.randoms(), folds=st.integers(1, 4))
def test_the_order_of_rows_does_not_matter(pe, normals, random, folds):
    patients = cohort(pe, normals)
    shuffled = random.sample(patients, len(patients))
    assert split_cohort(shuffled, settings_of(folds=folds)) == split_cohort(patients, settings_of(folds=folds))


@settings(max_examples=40, deadline=None)
@given(pe=st.integers(3, 40), normals=st.integers(3, 40), folds=st.integers(1, 5), label=st.integers(0, 1))
def test_a_new_patient_moves_few_others(pe, normals, folds, label):
    patients, config = cohort(pe, normals), settings_of(folds=folds)

    def places(splits: dict) -> dict[str, object]:
        places: dict[str, object] = dict.fromkeys(splits["test"], "test")
        for k, fold in enumerate(splits["folds"]):
            places |= dict.fromkeys(fold["validation"], k)
        return places

    before = split_cohort(patients, config)
    after = split_cohort([*patients, patient("pnew" if label else "nnew", label)], config)
    if len(before["folds"]) != len(after["folds"]):
        return  # one fold more: the cohort was too small for the configured number
    old, new = places(before), places(after)
    moved = [p.patient_id for p in patients if old.get(p.patient_id) != new.get(p.patient_id)]
    assert all(p.startswith("p" if label else "n") for p in moved)  # the other class stays as it was
    assert len(moved) <= 2 + 2 * folds


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=8, max_size=20), folds=st.integers(1, 4))
def test_groups_are_never_divided(sizes, folds):
    patients = [
        patient(f"{'p' if g % 2 else 'n'}{g}-{i}", g % 2, group=f"g{g}") for g, n in enumerate(sizes) for i in range(n)
    ]
    splits = split_cohort(patients, settings_of(folds=folds))
    for fold in splits["folds"]:
        for part in (splits["test"], fold["train"], fold["validation"]):
            groups = {name.split("-")[0] for name in part}
            assert sorted(part) == sorted(p.patient_id for p in patients if p.patient_id.split("-")[0] in groups)


def test_another_seed_gives_another_split():
    tests = {tuple(split_cohort(cohort(20, 20), settings_of(seed=seed))["test"]) for seed in range(5)}
    assert len(tests) == 5


def test_labels_beyond_the_rank_do_not_leak_into_the_test_choice():
    """The test set of one class depends on that class alone."""
    few, many = (split_cohort(cohort(10, n), settings_of())["test"] for n in (6, 60))
    assert [name for name in few if name[0] == "p"] == [name for name in many if name[0] == "p"]


def test_given_parts_are_honoured():
    patients = [
        patient("p0", 1, "train"),
        patient("p1", 1, "validation"),
        patient("p2", 1, "test"),
        patient("n0", 0, "train"),
        patient("n1", 0, "validation"),
        patient("n2", 0, "test"),
        patient("p3", 1),
        patient("n3", 0),
    ]
    splits = split_cohort(patients, settings_of(folds=5))
    assert splits["test"] == ["n2", "p2"]
    assert splits["folds"] == [{"train": ["n0", "n3", "p0", "p3"], "validation": ["n1", "p1"]}]
    assert splits["method"] == "test as given in cohort.csv; validation as given in cohort.csv"


def test_a_given_test_set_leaves_folds_to_the_rest():
    patients = [*cohort(6, 6), patient("p-test", 1, "test"), patient("n-test", 0, "test")]
    splits = split_cohort(patients, settings_of(folds=3))
    assert splits["test"] == ["n-test", "p-test"]
    assert [len(fold["validation"]) for fold in splits["folds"]] == [4, 4, 4]


def test_training_rows_train_in_every_fold():
    patients = [*cohort(6, 6), patient("p-train", 1, "train"), patient("n-train", 0, "train")]
    splits = split_cohort(patients, settings_of(folds=3))
    assert len(splits["folds"]) == 3
    assert all({"p-train", "n-train"} <= set(fold["train"]) for fold in splits["folds"])
    assert not {"p-train", "n-train"} & set(splits["test"])


@pytest.mark.parametrize(("folds", "held"), [(1, [2]), (3, [4, 4, 4])])
def test_training_rows_are_validated_on_in_turn_where_all_others_test(folds, held):
    """A sheet with a test set of its own and nothing else to say."""
    training = [patient(one.patient_id, one.label, "train") for one in cohort(6, 6)]
    tested = [patient("p-test", 1, "test"), patient("n-test", 0, "test")]
    splits = split_cohort([*training, *tested], settings_of(folds=folds, validation_fraction=0.2))
    assert splits["test"] == ["n-test", "p-test"]
    assert [len(fold["validation"]) for fold in splits["folds"]] == held
    assert (
        splits["folds"]
        == split_cohort([*cohort(6, 6), *tested], settings_of(folds=folds, validation_fraction=0.2))["folds"]
    )


def test_a_given_validation_set_still_gets_a_test_set():
    patients = [*cohort(6, 6), patient("p-val", 1, "validation"), patient("n-val", 0, "validation")]
    splits = split_cohort(patients, settings_of())
    assert len(splits["test"]) == 4
    assert splits["folds"][0]["validation"] == ["n-val", "p-val"]


def test_one_row_fixes_its_group():
    patients = [*cohort(6, 6), patient("p-a", 1, "test", group="twins"), patient("n-b", 0, "", group="twins")]
    assert split_cohort(patients, settings_of())["test"] == ["n-b", "p-a"]


def test_one_group_may_hold_all_of_a_part():
    """As all pairs of one chest do: patients are counted, not groups."""
    patients = [
        patient(f"{'p' if label else 'n'}-{part}{i}", label, part, group=part)
        for part in ("train", "validation", "test")
        for label in (0, 1)
        for i in range(2)
    ]
    splits = split_cohort(patients, settings_of())
    assert [len(splits["test"]), *(len(ids) for ids in splits["folds"][0].values())] == [4, 4, 4]
    with pytest.raises(CpmnError, match="testing has 0 PE and 2 normal"):
        split_cohort([p for p in patients if not (p.split == "test" and p.label)], settings_of())


def test_rows_of_a_group_that_disagree():
    patients = [*cohort(6, 6), patient("p-a", 1, "test", group="twins"), patient("n-b", 0, "train", group="twins")]
    with pytest.raises(CpmnError, match=r"group 'twins' stands in test and train\. Give it one split"):
        split_cohort(patients, settings_of())


@pytest.mark.parametrize(("pe", "normals"), [(0, 5), (1, 5), (2, 5), (5, 2), (5, 0)])
@pytest.mark.parametrize("folds", [1, 5])
def test_a_class_that_is_too_small(pe, normals, folds):
    with pytest.raises(CpmnError, match="at least 3 PE and 3 normals") as error:
        split_cohort(cohort(pe, normals), settings_of(folds=folds))
    assert "cohort.csv" in str(error.value)


def test_a_given_part_that_lacks_a_class():
    patients = [*cohort(6, 6), patient("p-val", 1, "validation")]
    with pytest.raises(CpmnError, match="validation has 1 PE and 0 normal"):
        split_cohort(patients, settings_of())


def test_calibration_patients_neither_train_nor_validate_nor_test():
    patients = cohort(8, 8)
    given = [p.model_copy(update={"split": "calibration" if p.patient_id[1:] in "01" else ""}) for p in patients]
    splits = split_cohort(given, settings_of(folds=2))
    calibrating = sorted(p.patient_id for p in given if p.split)
    assert splits["calibration"] == calibrating
    assert len(calibrating) == 4
    for fold in splits["folds"]:
        parts = [*splits["test"], *calibrating, *fold["train"], *fold["validation"]]
        assert sorted(parts) == sorted(p.patient_id for p in patients)
    assert "calibration" not in split_cohort(patients, settings_of(folds=2))


def test_calibration_needs_both_classes():
    given = [p.model_copy(update={"split": "calibration" if p.patient_id == "p0" else ""}) for p in cohort(8, 8)]
    with pytest.raises(CpmnError, match="calibration has 1 PE and 0 normal"):
        split_cohort(given, settings_of())


def test_who_has_a_ctpa_alone_trains_everywhere_and_is_never_held():
    alone = [
        Patient.model_validate({"patient_id": name, "ctpa": Path("c"), "label": 1, "split": split, "group": group})
        for name, split, group in (("a", "", ""), ("b", "test", ""), ("c", "", "p0"))
    ]
    everyone = [*cohort(6, 6), *alone]
    splits = split_cohort(
        [one.model_copy(update={"split": "test"}) if one.patient_id in ("p0", "n0") else one for one in everyone],
        settings_of(folds=3),
    )
    assert splits["unused"] == ["b", "c"]  # by its row, and by a group that is tested
    for fold in splits["folds"]:
        assert "a" in fold["train"]
        assert not {"a", "b", "c"} & {*fold["validation"], *splits["test"]}
        assert not {"b", "c"} & set(fold["train"])
    with pytest.raises(CpmnError, match="no patient has an NCT"):
        split_cohort(alone, settings_of())


def test_who_has_a_ctpa_alone_of_a_group_that_validates_in_the_one_fold_is_not_used():
    """And so stands in the splits, which must share out everybody; with several folds the others train on it."""
    alone = Patient.model_validate({"patient_id": "a", "ctpa": Path("c"), "label": 0, "group": "n2"})
    held = {"split": "validation"}
    everyone = [one.model_copy(update=held) if one.patient_id in ("p2", "n2") else one for one in cohort(6, 6)]
    splits = split_cohort([*everyone, alone], settings_of())
    assert splits["unused"] == ["a"]
    assert not any("a" in part for fold in splits["folds"] for part in fold.values())
    assert teaching_nobody(splits) == {"a", *splits["test"]}
    tested = {"split": "test"}
    everyone = [one.model_copy(update=tested) if one.patient_id in ("p0", "n0") else one for one in cohort(6, 6)]
    splits = split_cohort([*everyone, alone], settings_of(folds=3))
    assert "unused" not in splits
    trains = ["a" in fold["train"] for fold in splits["folds"]]
    assert sorted(trains) == [False, True, True]
    assert trains == ["n2" in fold["train"] for fold in splits["folds"]]
