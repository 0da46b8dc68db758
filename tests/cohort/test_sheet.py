"""The cohort sheet: what is accepted, and each mistake's message."""

from pathlib import Path

import pytest

from cpmn.cohort.sheet import load_cohort, missing_files, require_references, shared_scans
from cpmn.errors import CpmnError

HEADER = "patient_id,ctpa,nct,ctpa_mask,label"


def sheet(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "cohort.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_paths_are_relative_to_the_sheet(tmp_path):
    patient = load_cohort(sheet(tmp_path, "p1,a/ctpa,/abs/nct,m.nii.gz,1"))[0]
    assert patient.ctpa == tmp_path / "a/ctpa"
    assert patient.nct == Path("/abs/nct")
    assert patient.ctpa_mask == tmp_path / "m.nii.gz"


def test_group_defaults_to_the_patient_and_empty_cells_to_none(tmp_path):
    patient = load_cohort(sheet(tmp_path, "p1,,nct,,0"))[0]
    assert (patient.group, patient.ctpa, patient.ctpa_mask, patient.split) == ("p1", None, None, "")


def test_a_phase_s_scan_and_named_series(tmp_path):
    path = sheet(tmp_path, "p1,c,n,m,1,1.2,", header=f"{HEADER},ctpa_series,nct_series")
    patient = load_cohort(path)[0]
    assert [patient.scan(phase) for phase in ("nct", "ctpa")] == [tmp_path / "n", tmp_path / "c"]
    assert [patient.series_uid(phase) for phase in ("nct", "ctpa")] == ["", "1.2"]


def test_byte_order_mark_and_spaces_of_spreadsheets_are_accepted(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n p1 ,, nct ,, 0 \r\n".encode())
    assert load_cohort(path)[0].patient_id == "p1"


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("patient,ctpa,nct,ctpa_mask,label", ["p1,,n,,0"], "column 'patient_id' is missing; column 'patient' is not"),
        (HEADER, ["p1,,n,,0", "p1,,n,,0"], "patient_id 'p1' stands in 2 rows"),
        (HEADER, ["p1,,n,,2"], "row 2, column label: Input should be 0 or 1 (given: '2')"),
        (HEADER, ["p1,,n,,"], "row 2, column label"),
        (HEADER, ["p1,,,,0"], "row 2: has neither nct nor ctpa"),
        (HEADER, ["../p1,,n,,0"], "row 2, column patient_id: must be 1-64 letters"),
        (HEADER, ["<b>,,n,,0"], "row 2, column patient_id: must be 1-64 letters"),
        (HEADER + ",split", ["p1,,n,,0,tset"], "row 2, column split: Input should be"),
        (HEADER, ["p1,,/d/Doe, John/nct,,0"], "row 2 has more cells than columns; a value that holds a comma"),
        (HEADER, ["p1,,/scans/{x}/nct,,0"], "row 2, column nct: must not hold {, }, < or >"),
        (HEADER, ["p1,,/scans/<b>/nct,,0"], "row 2, column nct: must not hold {, }, < or >"),
        (HEADER, [f"p1,,/scans/{'n' * 256},,0"], "row 2, column nct: is longer than the 255 bytes of a name"),
        (HEADER, [f"p1,,/scans/{'ä' * 128},,0"], "row 2, column nct: is longer than the 255 bytes of a name"),
        (HEADER, [f"p1,,{'/nct' * 1100},,0"], "or the 4,095 of a path"),
        (HEADER, ["p1,,a\tb,,0"], "row 2, column nct: must not hold control characters"),
        (HEADER, ["p1,,n,,0"] * 50_001, "has 50001 rows, 50000 at most"),
        (HEADER, ["p1,,n,,2"] * 200, "and 100 more"),
        (HEADER, [], "the sheet has no patients"),
        (HEADER, [",,,,", " ,,,,"], "the sheet has no patients"),
        (HEADER + ",label", ["p1,,n,,1,0"], "column 'label' stands twice"),
        (HEADER.replace(",", ";"), ["p1;;n;;0"], "is separated by semicolons. Export the sheet with commas"),
        (HEADER.replace(",", "\t"), ["p1\t\tn\t\t0"], "is separated by tabs"),
        (HEADER, ["p1,,n,,0", "P1,,m,,0"], "patient_id 'P1' and 'p1' name one folder on some disks"),
    ],
)
def test_mistakes_are_named(tmp_path, header, rows, message):
    with pytest.raises(CpmnError) as raised:
        load_cohort(sheet(tmp_path, *rows, header=header))
    assert message in str(raised.value)


def test_empty_cells_after_the_last_column_are_accepted(tmp_path):
    assert load_cohort(sheet(tmp_path, "p1,,n,,0,,"))[0].label == 0


@pytest.mark.parametrize(
    ("rows", "shared"),
    [
        (["p1,,n,,0,,", "p2,,./n,,1,,"], "n"),
        (["p1,c,n,,0,,", "p2,c,m,,0,,"], "c"),
        (["p1,,n,,0,,s", "p2,,n,,0,,s"], "n"),
        (["p1,study,study,,0,,", "p2,,other,,0,,"], ""),  # both phases of one patient
        (["p1,study,study,,0,1.2,1.3", "p2,study,study,,0,1.4,1.5"], ""),
    ],
)
def test_a_scan_of_several_patients_is_warned_of(tmp_path, rows, shared):
    patients = load_cohort(sheet(tmp_path, *rows, header=f"{HEADER},ctpa_series,nct_series"))
    expected = [f"{tmp_path / shared} is a scan of p1 and p2: training may have seen what is tested."] if shared else []
    assert [warning.partition(" Give")[0] for warning in shared_scans(patients)] == expected


def test_what_spreadsheets_leave_is_accepted(tmp_path):
    """Spaces in the header, nameless columns at the end, rows without text."""
    path = sheet(tmp_path, "p1,,n,,0,,", ",,,,,,", "p2,,m,,0,,", header=HEADER.replace(",", ", ") + ",,")
    assert [patient.patient_id for patient in load_cohort(path)] == ["p1", "p2"]


def test_every_wrong_row_is_listed_at_once(tmp_path):
    with pytest.raises(CpmnError) as raised:
        load_cohort(sheet(tmp_path, "p1,,n,,x", "p2,,n,,0", "p3,,,,0"))
    assert "row 2, column label" in str(raised.value)
    assert "row 4: has neither nct nor ctpa" in str(raised.value)


def test_rows_have_the_numbers_that_a_spreadsheet_shows(tmp_path):
    with pytest.raises(CpmnError, match=r"row 4, column label"):
        load_cohort(sheet(tmp_path, "p1,,n,,0", "", "p2,,n,,x"))


def test_absent_sheet(tmp_path):
    with pytest.raises(CpmnError, match=r"nowhere\.csv does not exist"):
        load_cohort(tmp_path / "nowhere.csv")


def test_missing_files_and_labels_are_reported_per_patient(tmp_path):
    for folder in ("nct/1.dcm", "empty", "full/1.dcm"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "cut.nii.gz").touch()
    header = f"{HEADER},vessels"
    rows = ("p1,gone,nct,,1,lost.nii.gz", "p2,,full,,0,", "p3,cut.nii.gz,empty,full,1,")
    first, second, third = load_cohort(sheet(tmp_path, *rows, header=header))
    assert missing_files(first) == [
        f"ctpa: {tmp_path / 'gone'} does not exist",
        f"vessels: {tmp_path / 'lost.nii.gz'} does not exist",
    ]
    assert missing_files(second) == []
    assert missing_files(third) == [
        f"ctpa: {tmp_path / 'cut.nii.gz'} is an empty file",
        f"nct: {tmp_path / 'empty'} is an empty folder",
        f"ctpa_mask: {tmp_path / 'full'} is a folder; give one image file",
    ]


def test_references_must_exist_before_the_work_begins(tmp_path):
    (tmp_path / "there.nii.gz").touch()
    header = f"{HEADER},nct_truth"
    rows = ("p1,,a,,0,there.nii.gz", "p2,,b,,0,", "p3,,c,,0,lost.nii.gz")
    patients = load_cohort(sheet(tmp_path, *rows, header=header))
    require_references(patients[:2])
    with pytest.raises(CpmnError, match=r"nct_truth does not exist.*\n  patient p3: .*lost\.nii\.gz$"):
        require_references(patients)
