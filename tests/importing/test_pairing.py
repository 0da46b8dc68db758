"""Pairs that are proposed from a messy export, made here: nested folders, localizers, dose reports, two visits."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from cpmn.cli import main
from cpmn.cohort.csv import read_sheet
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.choice import choose_series
from cpmn.dicom.headers import read_file_set
from cpmn.errors import CpmnError
from cpmn.files import read_table
from cpmn.importing.pairing import Proposal, propose_pairs
from tests.dicom.conftest import write_series as write_series  # a fixture
from tests.predict.conftest import chest_series

BLOOD = {"nct": 0, "ctpa": 250}
CONFIG = ConvertConfig.model_validate({})


@pytest.fixture
def export(write_series, tmp_path) -> Path:
    """Two patients: A came twice (a pair each time), B has an NCT and a CTPA ten days apart."""
    add_scan(write_series, "export/A/1/a", "nct", patient="A", day=5, hour=9)
    add_scan(write_series, "export/A/1/b/c", "ctpa", patient="A", day=5, hour=10)
    add_scan(write_series, "export/A/1/thick", "nct", patient="A", day=5, hour=9, every=2)
    add_scan(write_series, "export/A/later/x", "nct", patient="A", day=25, hour=9)
    add_scan(write_series, "export/A/later/y", "ctpa", patient="A", day=25, hour=12)
    add_scan(write_series, "export/B/s", "nct", patient="B", day=5, hour=9)
    add_scan(write_series, "export/B/t", "ctpa", patient="B", day=15, hour=9)
    folder = tmp_path / "export"
    dose_report(folder / "A/1/dose", "A")
    (folder / "A/1/Thumbs.db").write_text("no DICOM")
    localizer(next((folder / "A/1/a").iterdir()), folder / "A/1/scout")
    return folder


def add_scan(write: Callable[..., Path], folder: str, phase: str, *, patient: str, day: int, hour: int, every=1):
    tags = {"PatientID": patient, "SeriesInstanceUID": generate_uid(entropy_srcs=[folder])}
    tags |= {"AcquisitionDate": f"202403{day:02d}", "AcquisitionTime": f"{hour:02d}0000"}
    chest_series(write, folder, every=every, blood=BLOOD[phase], **tags)


def dose_report(path: Path, patient: str) -> None:
    report = pydicom.Dataset()
    report.Modality, report.PatientID, report.SOPInstanceUID = "SR", patient, generate_uid()
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    report.SeriesInstanceUID = generate_uid()
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    pydicom.dcmwrite(path, report, enforce_file_format=True)


def localizer(source: Path, target: Path) -> None:
    image = pydicom.dcmread(source)
    image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    image.SeriesInstanceUID = generate_uid()
    image.save_as(target)


def left_out(proposal: Proposal) -> list[str]:
    return [row["why"] for row in proposal.series if row["taken_as"] == "left out"]


def test_each_visit_with_both_scans_gives_a_pair(export):
    proposal = propose_pairs(export, CONFIG)
    assert [Path(row["nct"]).relative_to(export).as_posix() for row in proposal.sheet] == ["A/1/a", "A/later/x"]
    assert [Path(row["ctpa"]).relative_to(export).as_posix() for row in proposal.sheet] == ["A/1/b/c", "A/later/y"]
    first, second = proposal.sheet
    assert first["group"] == second["group"] == first["patient_id"] != second["patient_id"]
    hours = {row["patient_id"]: row["interval_hours"] for row in proposal.series if row["taken_as"] == "ctpa"}
    assert list(hours.values()) == [1.0, 3.0]
    assert [row["label"] for row in proposal.sheet] == ["", ""]


def test_what_is_left_out_stands_there_with_the_reason(export):
    proposal = propose_pairs(export, CONFIG)
    reasons = " / ".join(left_out(proposal))
    for reason in ("localizer", "modality is SR, not CT", "no DICOM file", "behind by the rule 'thinnest slices'"):
        assert reason in reasons
    assert reasons.count("within 24 hours") == 2  # B's two visits
    warned = " / ".join(proposal.warnings)
    assert "has no CTPA that can be used" in warned
    assert "the CTPA was taken 3.0 hours after the NCT" in warned


def test_every_file_is_accounted_for(export):
    proposal = propose_pairs(export, CONFIG)
    assert sum(row["files"] for row in proposal.series) == sum(path.is_file() for path in export.rglob("*"))


def test_two_equal_series_are_named(export, write_series):
    add_scan(write_series, "export/A/1/again", "ctpa", patient="A", day=5, hour=10)
    assert "as CTPA equal by all rules: look at both" in left_out(propose_pairs(export, CONFIG))


def test_a_damaged_file_costs_no_other(export):
    damaged = export / "A/1/a/broken.dcm"
    damaged.write_bytes(next((export / "A/1/a").iterdir()).read_bytes()[:700])
    proposal = propose_pairs(export, CONFIG)
    assert len(proposal.sheet) == 2


def test_a_link_that_leads_nowhere_costs_no_other_file(export, tmp_path):
    (export / "A/1/a/broken.dcm").symlink_to(tmp_path / "gone.dcm")
    proposal = propose_pairs(export, CONFIG)
    assert len(proposal.sheet) == 2
    assert "a link leads nowhere, and the file that it stands for is not there" in left_out(proposal)


def test_nothing_names_a_patient(export, write_series):
    add_scan(write_series, "export/C/s", "nct", patient="HOSP-7741209", day=5, hour=9)
    proposal = propose_pairs(export, CONFIG)
    texts = [str(value) for row in proposal.series for value in row.values()] + proposal.warnings
    assert not any("HOSP-7741209" in text or "Doe" in text or "20240305" in text for text in texts)


def test_the_command_writes_a_sheet_that_a_person_completes(export, tmp_path, capsys):
    sheet = tmp_path / "cohort.csv"
    assert main(["pair", str(export), "-o", str(sheet)]) == 0
    printed = capsys.readouterr()
    assert "2 pairs proposed" in printed.out
    assert "label" in printed.out
    assert len(read_table(tmp_path / "cohort-series.csv")) == 10
    assert main(["check", str(sheet)]) == 2  # the labels are empty
    assert "column label" in capsys.readouterr().err
    text = sheet.read_text().splitlines()
    rows = [line.replace(",,", ",,0", 1) for line in text[1:]]  # after the empty ctpa_mask
    sheet.write_text("\n".join([text[0], *rows]))
    assert read_sheet(sheet).rows[0]["label"] == "0"
    assert main(["check", str(sheet), "--deep", "--headers-only", "-o", str(tmp_path / "check")]) == 0


def test_a_sheet_that_a_person_has_edited_is_not_overwritten(export, tmp_path, capsys):
    sheet = tmp_path / "cohort.csv"
    sheet.write_text("mine")
    assert main(["pair", str(export), "-o", str(sheet)]) == 2
    assert "exists" in capsys.readouterr().err
    assert sheet.read_text() == "mine"


def test_an_export_without_dicom_is_a_clear_error(tmp_path):
    (tmp_path / "note.txt").write_text("nothing")
    with pytest.raises(CpmnError, match=r"no file below .* is a readable DICOM image"):
        propose_pairs(tmp_path, CONFIG)
    with pytest.raises(CpmnError, match="is no folder"):
        propose_pairs(tmp_path / "gone", CONFIG)


def test_by_tags_alone_if_pixels_are_not_to_be_read(write_series, tmp_path):
    for phase, words in (("nct", "chest without contrast"), ("ctpa", "CTPA")):
        tags = {"SeriesDescription": words, "SeriesInstanceUID": generate_uid(entropy_srcs=[phase])}
        write_series(f"export/{phase}", z=np.arange(40) * 5.0, AcquisitionDate="20240305", AcquisitionTime="09", **tags)
    (row,) = propose_pairs(tmp_path / "export", CONFIG, look=False).sheet
    assert (Path(row["nct"]).name, Path(row["ctpa"]).name) == ("nct", "ctpa")


def test_halves_of_an_nct_that_differ_are_no_nct(write_series, tmp_path):
    for name, lowest, kernel in (("lower", 0, "B30f"), ("upper", 24, "B70f")):
        tags = {"SeriesInstanceUID": generate_uid(entropy_srcs=[name]), "ConvolutionKernel": kernel}
        write_series(f"export/{name}", z=lowest + 2.0 * np.arange(12), **tags)
    write_series("export/ctpa", SeriesInstanceUID="1.9", ContrastBolusAgent="Iomeron")
    proposal = propose_pairs(tmp_path / "export", CONFIG, look=False)
    assert proposal.sheet == []
    assert sum("and they differ in kernel" in why for why in left_out(proposal)) == 2


def test_the_folder_holds_the_other_acquisitions_of_a_series(write_series, tmp_path):
    """Of a part of it alone the series has another key."""
    for name, kernel in (("a", "B30f"), ("b", "B70f")):
        write_series(f"export/nct/{name}", SeriesInstanceUID="1.8", ConvolutionKernel=kernel)
    write_series("export/ctpa", SeriesInstanceUID="1.9", ContrastBolusAgent="Iomeron")
    config = CONFIG.model_copy(update={"preferred_kernel": "B30f"})
    (row,) = propose_pairs(tmp_path / "export", config, look=False).sheet
    assert row["nct"] == str(tmp_path / "export/nct")
    again = read_file_set(Path(row["nct"]))
    series = choose_series(again, phase="nct", series_uid=row["nct_series"], config=CONFIG).series
    assert series.first.text("ConvolutionKernel") == "B30f"


def pair_of(proposal: Proposal) -> tuple[str, str]:
    (row,) = proposal.sheet
    return Path(row["nct"]).name, Path(row["ctpa"]).name


def test_of_equal_scans_the_closest_in_time_is_taken(write_series, tmp_path):
    for name, phase, day, hour in (("far", "nct", 5, 1), ("near", "nct", 5, 23), ("ctpa", "ctpa", 5, 23)):
        add_scan(write_series, f"export/{name}", phase, patient="A", day=day, hour=hour)
    assert pair_of(propose_pairs(tmp_path / "export", CONFIG)) == ("near", "ctpa")


def test_a_pair_beyond_the_limit_is_not_proposed_where_another_is_within_it(write_series, tmp_path):
    """Each scan is within 24 hours of the next; the thin NCT is 40 hours from the CTPA."""
    add_scan(write_series, "export/thin", "nct", patient="A", day=5, hour=0)
    add_scan(write_series, "export/thick", "nct", patient="A", day=5, hour=20, every=2)
    add_scan(write_series, "export/ctpa", "ctpa", patient="A", day=6, hour=16)
    proposal = propose_pairs(tmp_path / "export", CONFIG)
    assert pair_of(proposal) == ("thick", "ctpa")
    assert any("too far from it in time" in why for why in left_out(proposal))


def test_scans_of_one_study_go_together_and_of_two_are_warned_of(write_series, tmp_path):
    """Two people under the number ANONYMOUS: the thin NCT is the other one's."""
    for name, phase, study, every in (("a", "nct", "1.1", 1), ("b", "nct", "1.2", 2), ("c", "ctpa", "1.2", 1)):
        tags = {"PatientID": "ANONYMOUS", "SeriesInstanceUID": f"1.9.{ord(name)}", "study": study}
        tags |= {"AcquisitionDate": "20240305", "AcquisitionTime": "090000"}
        chest_series(write_series, f"export/{name}", every=every, blood=BLOOD[phase], **tags)
    proposal = propose_pairs(tmp_path / "export", CONFIG)
    assert pair_of(proposal) == ("b", "c")
    assert not any("of two studies" in warning for warning in proposal.warnings)
    shutil.rmtree(tmp_path / "export/b")
    assert any("are of two studies" in warning for warning in propose_pairs(tmp_path / "export", CONFIG).warnings)


def test_a_name_that_no_table_can_hold_is_said_before_anything_is_read(tmp_path):
    (tmp_path / "export").mkdir()
    (Path(os.fsdecode(os.fsencode(tmp_path / "export") + b"/M\xfcller"))).write_bytes(b"")
    with pytest.raises(CpmnError, match=r"the name is not UTF-8, where the \? stand"):
        propose_pairs(tmp_path / "export", CONFIG)


def test_a_scan_of_another_part_of_the_body_is_no_nct(write_series, tmp_path):
    """A head without contrast, by its description, of thinner slices than the chest's."""
    add_scan(write_series, "export/chest", "nct", patient="A", day=5, hour=9, every=2)
    add_scan(write_series, "export/ctpa", "ctpa", patient="A", day=5, hour=10)
    tags = {"PatientID": "A", "SeriesInstanceUID": "1.9.9", "SeriesDescription": "Head without contrast"}
    tags |= {"AcquisitionDate": "20240305", "AcquisitionTime": "100500", "StudyInstanceUID": "1.2"}
    write_series("export/head", z=[3.0 * i for i in range(60)], **tags)
    proposal = propose_pairs(tmp_path / "export", CONFIG)
    assert pair_of(proposal) == ("chest", "ctpa")
    assert "shows no lungs: another part of the body?" in left_out(proposal)
    shutil.rmtree(tmp_path / "export/ctpa")
    choice = choose_series(read_file_set(tmp_path / "export"), phase="nct", series_uid="", config=CONFIG)
    assert (choice.series.uid != "1.9.9", choice.reason) == (True, "first by the rule 'lungs in view'")
