import pytest

from benchmarks.truth import write_truth_cohort
from cpmn.cohort.sheet import load_cohort
from cpmn.errors import CpmnError

SHEET = """patient_id,ctpa,nct,ctpa_mask,label,nct_truth,split
a,a/ctpa,a/nct,a/mask.nii.gz,1,a/truth.nii.gz,train
b,,b/nct,,0,,test
"""


def test_the_truth_becomes_the_annotation(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cohort.csv").write_text(SHEET)
    write_truth_cohort(tmp_path / "in" / "cohort.csv", tmp_path / "out" / "cohort.csv")
    before, after = load_cohort(tmp_path / "in" / "cohort.csv"), load_cohort(tmp_path / "out" / "cohort.csv")
    assert after[0].nct_mask == before[0].nct_truth
    assert after[0] == before[0].model_copy(update={"nct_mask": before[0].nct_truth})
    assert after[1] == before[1]


def test_pe_without_truth_is_named(tmp_path):
    (tmp_path / "cohort.csv").write_text(SHEET.replace("a/truth.nii.gz", ""))
    with pytest.raises(CpmnError, match="PE patients without nct_truth cannot serve this control: a"):
        write_truth_cohort(tmp_path / "cohort.csv", tmp_path / "out.csv")
