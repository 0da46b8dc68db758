"""Reading results: exclusions, and what a reason may show."""

import shutil
from pathlib import Path

import pytest

from cpmn.cohort.sheet import Patient
from cpmn.errors import CpmnError
from cpmn.files import write_json
from cpmn.job.redact import without_paths
from cpmn.report.collect import Exclusion, collect, number, read_optional_frame

PATIENT = Patient.model_validate({"patient_id": "p1", "nct": "/a/DOE/nct", "ctpa": "/a/DOE/nct2", "label": 0})


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("patient p1: 3 slices (/a/DOE/nct). Add some.", "patient p1: 3 slices (<nct>). Add some."),
        ("two scans: /a/DOE/nct2 and /a/DOE/nct", "two scans: <ctpa> and <nct>"),
        ("slice /a/DOE/nct/JANE.dcm is damaged", "slice <nct> is damaged"),
        ("damaged (/a/DOE/nct/DOE JANE.dcm). Copy it.", "damaged (<nct>). Copy it."),
        ("damaged (/b/DOE JANE/x.dcm). Copy it.", "damaged (<file>). Copy it."),
        ("damaged (/b/Scan (1)/DOE JANE/x). Export", "damaged (<file>). Export"),
        ("damaged (/a/DOE/nct/DOE (JANE/IM1). Copy it.", "damaged (<nct>). Copy it."),
        ("damaged (/a/DOE/nct/DOE) JANE/IM1). Copy it.", "damaged (<nct>). Copy it."),
        ("damaged (/a/DOE/nct/((A) DOE (B (C)))/x). Copy it.", "damaged (<nct>). Copy it."),
        ("damaged (/b/DOE (JANE/IM1). Copy it.", "damaged (<file>). Copy it."),
        ("cannot read /other/DOE/file.dcm: truncated", "cannot read <file>: truncated"),
        ("C:\\scans\\DOE\\x.dcm is damaged", "<file> is damaged"),
        ("sensitivity/specificity 1/2 at 3 mm/s", "sensitivity/specificity 1/2 at 3 mm/s"),
    ],
)
def test_reasons_show_no_paths(reason, shown):
    assert without_paths(reason, PATIENT) == shown


def test_the_last_status_decides(run):
    results = collect(run.results, run.patients, run.variants)
    assert list(results.excluded) == ["p05"]
    (run.results / "crop" / "p05" / "status.json").write_text('{"patient": "p05", "passed": true}', encoding="utf-8")
    assert collect(run.results, run.patients, run.variants).excluded == {}


def change(run, name: str, **row) -> None:
    """Change a patient's row."""
    run.patients = [p.model_copy(update=row) if p.patient_id == name else p for p in run.patients]


def test_an_old_registration_of_a_patient_without_a_ctpa_counts_nowhere(run):
    assert "p07" in collect(run.results, run.patients, run.variants).quality
    change(run, "p07", ctpa=None, ctpa_mask=None)
    assert "p07" not in collect(run.results, run.patients, run.variants).quality


@pytest.mark.parametrize("stage", ["convert", "annotate/crop"])
def test_a_ctpa_alone_whose_stage_failed_stands_among_the_excluded(run, stage):
    change(run, "p06", nct=None)  # the files of the pair that it was are of no account
    scan = next(patient.ctpa for patient in run.patients if patient.patient_id == "p06")
    status = {"patient": "p06", "passed": False, "stage": Path(stage).parts[0], "reason": f"no lungs ({scan})."}
    write_json(run.results / stage / "p06" / "status.json", status)
    found = collect(run.results, run.patients, run.variants).excluded
    assert list(found) == ["p05", "p06"]
    assert found["p06"] == Exclusion("p06", Path(stage).parts[0], "no lungs (<ctpa>).")


def test_folds_of_an_earlier_configuration_are_left_out(run):
    folder = run.results / "train/cpmn"
    shutil.copytree(folder / "fold-0", folder / "fold-1")
    assert list(collect(run.results, run.patients, run.variants).history["cpmn"]) == ["fold-0"]


@pytest.mark.parametrize(("text", "value"), [("1.5", 1.5), ("", None), ("nan", None), (None, None), ("x", None)])
def test_number(text, value):
    assert number(text) == value


def test_an_absent_and_an_empty_file_have_no_rows_but_the_columns(tmp_path: Path):
    (tmp_path / "empty.csv").write_bytes(b"")
    for name in ("absent.csv", "empty.csv"):
        table = read_optional_frame(tmp_path / name, {"patient_id": object, "score": float})
        assert (len(table), list(table.columns)) == (0, ["patient_id", "score"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a,b\n1,2\n1,2,3,4\n", "Expected 2 fields in line 3, saw 4"),
        (b"a\n\xff\n", "codec can't decode|utf-8"),
        (b"a\n1\n", "score"),
        (b"score\nhigh\n", "could not convert string to float: 'high'"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, content, problem):
    (tmp_path / "patients.csv").write_bytes(content)
    with pytest.raises(CpmnError, match=rf"patients.csv is not valid: .*({problem}).*\. Delete it and run the same"):
        read_optional_frame(tmp_path / "patients.csv", {"score": float})
