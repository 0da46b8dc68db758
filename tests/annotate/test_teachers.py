"""Who teaches, who is read, and that no network reads whom it was trained on."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cpmn.annotate.teachers import networks_of, readers
from cpmn.cohort.sheet import Patient


def patient(name: str, label: int, mask: bool = False, nct: bool = True, group: str = "") -> Patient:
    files = {"ctpa": Path("/c")} | ({"nct": Path("/n")} if nct else {}) | ({"ctpa_mask": Path("/m")} if mask else {})
    return Patient.model_validate({"patient_id": name, "label": label, "group": group} | files)


def cohort(outlined: int, reported: int, normals: int) -> list[Patient]:
    return (
        [patient(f"o{n}", 1, mask=True) for n in range(outlined)]
        + [patient(f"r{n}", 1) for n in range(reported)]
        + [patient(f"n{n}", 0) for n in range(normals)]
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 5), st.integers(1, 6), st.integers(0, 9))
def test_folds_hold_each_teacher_once_and_nobody_reads_its_own_training(outlined, reported, normals, folds, seed):
    found = readers(cohort(outlined, reported, normals), (), folds, seed)
    count = min(folds, outlined)
    assert len(found["folds"]) == count
    assert found["read"] == [f"r{n}" for n in range(reported)]
    if count > 1:
        assert sorted(name for fold in found["folds"] for name in fold["held"]) == sorted(found["teachers"])
    for fold in found["folds"]:
        assert any(name.startswith("o") for name in fold["train"])
        assert not set(fold["train"]) & {*fold["held"], *found["read"]}
    for name in found["read"]:
        assert networks_of(name, found["folds"]) == list(range(count))
    for name in found["teachers"]:
        assert len(networks_of(name, found["folds"])) == (1 if count > 1 else 0)


def test_those_who_test_teach_nobody():
    found = readers(cohort(3, 2, 2), {"o0", "r0", "n1"}, 2, 0)
    assert found["teachers"] == ["o1", "o2", "n0"]
    assert (found["read"], found["worklist"]) == (["r0", "r1"], ["r1"])


def test_groups_are_not_divided():
    members = [patient(f"o{n}", 1, mask=True, group=f"g{n // 2}") for n in range(6)] + [patient("r", 1)]
    for fold in readers(members, (), 3, 1)["folds"]:
        assert {name: name in fold["held"] for name in ("o0", "o2", "o4")} == {
            name: other in fold["held"] for name, other in (("o0", "o1"), ("o2", "o3"), ("o4", "o5"))
        }


def test_nothing_to_read_or_nobody_to_learn_from_trains_nothing():
    nothing = {"teachers": [], "read": [], "worklist": [], "folds": []}
    assert readers(cohort(3, 0, 3), (), 2, 0) == nothing
    assert readers(cohort(0, 2, 3), (), 2, 0) == nothing


def test_public_ctpas_teach_a_hospital_without_masks():
    public = [patient(f"f{n}", 1, mask=True, nct=False) for n in range(2)]
    found = readers([*cohort(0, 2, 1), *public], (), 2, 0)
    assert found["teachers"] == ["n0", "f0", "f1"]
    assert found["read"] == ["r0", "r1"]
