"""A whole cohort asked before any run: one table of what to look at."""

import csv

import pytest

from cpmn.checks.deep import check_deeply
from cpmn.cli import main
from cpmn.cohort.sheet import load_cohort
from cpmn.config.convert import ConvertConfig

HEAD = "patient_id,ctpa,nct,ctpa_mask,label,overrule\n"
TIMES = {"AcquisitionDate": "20200101", "AcquisitionTime": "120000"}


@pytest.fixture
def cohort(write_series, tmp_path):
    """Six patients: one clean, one copy of it, one of two visits, one virtual, one half unreadable, one overruled."""

    def scan(name: str, person: str, intercept: int = -1024, **tags) -> None:
        write_series(name, PatientID=person, RescaleIntercept=intercept, **(TIMES | tags))

    scan("a/nct", "a")
    scan("a/ctpa", "a", -1000)
    scan("b/nct", "b", SeriesInstanceUID="7.7")
    scan("c/nct", "c", -990)
    scan("c/ctpa", "c", -980, AcquisitionDate="20220101")
    scan("d/nct", "d", -970, SeriesDescription="VNC <b>1.0</b>")
    scan("e/nct", "e", -960)
    (tmp_path / "e/nct/lost.dcm").write_bytes(b"")
    scan("f/nct", "f", -950, SeriesDescription="VNC")
    rows = ["a,a/ctpa,a/nct,,0,", "b,,b/nct,,0,", "c,c/ctpa,c/nct,,0,", "d,,d/nct,,0,", "e,,e/nct,,0,"]
    (tmp_path / "cohort.csv").write_text(HEAD + "\n".join([*rows, "f,,f/nct,,0,virtual", "g,,nowhere,,0,"]) + "\n")
    return tmp_path / "cohort.csv"


def bad(rows) -> set[tuple[str, ...]]:
    return {(row.patient_id, row.of, row.check, row.outcome) for row in rows if row.outcome != "passed"}


FACTS = {
    ("c", "pair", "interval", "refused"),
    ("d", "nct", "virtual", "refused"),
    ("e", "nct", "unreadable", "warned"),
    ("f", "nct", "virtual", "overruled"),
    ("g", "files", "present", "refused"),
}


@pytest.mark.parametrize("jobs", [1, 2])
def test_everything_is_found_in_one_pass(cohort, jobs):
    rows = check_deeply(load_cohort(cohort), ConvertConfig(), jobs=jobs)
    assert bad(rows) == FACTS | {("", "cohort", "shared_scan", "refused")}
    assert [row.outcome for row in rows] == sorted(
        (row.outcome for row in rows), key=["refused", "overruled", "warned", "passed"].index
    )


def test_headers_alone_find_what_headers_hold(cohort):
    assert bad(check_deeply(load_cohort(cohort), ConvertConfig(), headers_only=True)) == FACTS


def test_the_command_writes_a_table_and_a_page_and_ends_with_2(cohort, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["check", str(cohort), "--deep", "-o", str(out)]) == 2
    with (out / "check.csv").open(newline="") as stream:
        assert {row["check"] for row in csv.DictReader(stream) if row["outcome"] == "refused"} == {
            *("interval", "virtual", "present", "shared_scan")
        }
    page = (out / "check.html").read_text()
    assert "a and b hold the same voxels" in page
    assert "<b>" not in page
    assert "4 refused" in capsys.readouterr().out
