"""Sheets joined: rows, paths and groups survive; what cannot be joined is named."""

import pytest

from cpmn.cohort.join import join_sheets
from cpmn.cohort.kinds import Kind, kind_of
from cpmn.cohort.sheet import load_cohort
from cpmn.errors import CpmnError


def test_a_hospital_and_a_public_set(tmp_path):
    hospital, public, output = tmp_path / "h/cohort.csv", tmp_path / "f/cohort.csv", tmp_path / "all/cohort.csv"
    hospital.parent.mkdir()
    public.parent.mkdir()
    header = "patient_id,ctpa,nct,ctpa_mask,label"
    rows = "p1,c,n,,1,g,pair_study hounsfield\np2,,n2,,0,,\n"
    hospital.write_text(f"{header},group,overrule\n{rows}")
    public.write_text(f"{header},split\nf1,{tmp_path}/all/scan,,m.nii.gz,1,train\n")
    joined = join_sheets([hospital, public], output)
    assert load_cohort(output) == joined == [*load_cohort(hospital), *load_cohort(public)]
    assert [kind_of(patient) for patient in joined] == [Kind.REPORTED_PAIR, Kind.NCT_ALONE, Kind.OUTLINED_CTPA]
    header, *rows = output.read_text().splitlines()
    assert header == "patient_id,ctpa,nct,ctpa_mask,label,split,group,overrule"
    assert rows[2].startswith(f"f1,scan,,{tmp_path}/f/m.nii.gz,1,train")


def test_one_id_in_two_sheets(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("patient_id,ctpa,nct,ctpa_mask,label\np1,,n,,0\n")
    with pytest.raises(CpmnError, match=r"patient p1 stands in .*a\.csv and in .*b\.csv\. Rename"):
        join_sheets([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "c.csv")
    assert not (tmp_path / "c.csv").exists()


def test_one_group_in_two_sheets(tmp_path):
    for name in ("a", "b"):
        rows = f"{name}1,,n,,0,1\n{name}2,,n,,0,1\n"
        (tmp_path / f"{name}.csv").write_text(f"patient_id,ctpa,nct,ctpa_mask,label,group\n{rows}")
    with pytest.raises(CpmnError, match=r"group 1 stands in .*a\.csv and in .*b\.csv\. Groups are never divided"):
        join_sheets([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "c.csv")


def test_a_sheet_is_not_written_over_itself(tmp_path):
    (tmp_path / "a.csv").write_text("patient_id,ctpa,nct,ctpa_mask,label\np1,,n,,0\n")
    with pytest.raises(CpmnError, match="is one of the sheets"):
        join_sheets([tmp_path / "a.csv"], tmp_path / "a.csv")
