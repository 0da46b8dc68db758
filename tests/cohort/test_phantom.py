import subprocess
import sys

import pytest

from cpmn.cohort.phantom import patient_id, patient_index, phantom_label, phantom_rows
from cpmn.cohort.sheet import load_cohort
from cpmn.config.phantom import PhantomConfig
from cpmn.errors import CpmnError
from cpmn.phantom.stage import write_cohort


def test_every_pair_has_one_patient_with_pe():
    labels = [int(row["label"]) for row in phantom_rows(PhantomConfig(patients=40))]
    assert [labels[i] + labels[i + 1] for i in range(0, 40, 2)] == [1] * 20


def test_labels_follow_no_pattern_of_the_ids():
    labels = [phantom_label(2024, index) for index in range(0, 80, 2)]
    assert 10 <= sum(labels) <= 30
    assert labels != [phantom_label(2025, index) for index in range(0, 80, 2)]


def test_adding_a_patient_leaves_the_rows_of_the_others():
    assert phantom_rows(PhantomConfig(patients=13))[:12] == phantom_rows(PhantomConfig(patients=12))


def test_only_patients_with_pe_have_a_ctpa_mask():
    for row in phantom_rows(PhantomConfig(reported=())):
        assert (row["ctpa_mask"] != "") == (row["label"] == "1")


def test_of_reported_patients_the_sheet_names_no_outline():
    rows, all_named = phantom_rows(PhantomConfig()), phantom_rows(PhantomConfig(reported=()))
    named, with_pe = ([row["patient_id"] for row in some if row["ctpa_mask"]] for some in (rows, all_named))
    assert set(with_pe) - set(named) == set(PhantomConfig().reported)
    assert len(named) == 2
    assert [row | {"ctpa_mask": ""} for row in rows] == [row | {"ctpa_mask": ""} for row in all_named]


@pytest.mark.parametrize("index", [0, 11, 998, 1000])
def test_id_and_index_are_inverse(index: int):
    assert patient_index(patient_id(index)) == index


@pytest.mark.parametrize("name", ["phantom-000", "phantom-1", "phantom-0001", "patient-001", "phantom-001 "])
def test_other_names_are_refused(name: str):
    with pytest.raises(CpmnError, match="is not a phantom patient"):
        patient_index(name)


def test_cohort_sheet_is_one_that_load_cohort_accepts(tmp_path):
    write_cohort(PhantomConfig(patients=5), tmp_path)
    patients = load_cohort(tmp_path / "cohort.csv")
    assert [patient.patient_id for patient in patients] == [f"phantom-00{n}" for n in range(1, 6)]
    assert patients[0].nct == tmp_path / "phantom-001" / "nct"


def test_rows_need_no_numerical_library():
    code = "import sys, cpmn.cohort.phantom; sys.exit(any(name in sys.modules for name in ('numpy', 'SimpleITK')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
