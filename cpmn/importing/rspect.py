"""RSNA-STR 2020 (RSPECT; Colak et al., Radiol Artif Intell 2021;3:e200254): CTPA as DICOM, labels per study, no masks.

    train.csv
    train/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm

A study has PE if it is neither negative nor indeterminate; indeterminate ones are left out.
"""

import csv
from pathlib import Path

from cpmn.cohort.sheet import PATIENT_ID
from cpmn.importing.entry import Entry, Skipped, require_columns, required

SHEET = "train.csv"
COLUMNS = ("StudyInstanceUID", "SeriesInstanceUID", "negative_exam_for_pe", "indeterminate")


def find_entries(source: Path) -> list[Entry | Skipped]:
    """Studies of `source`/train.csv. Raises CpmnError if it is not there or lacks a column."""
    studies: dict[str, dict[str, str]] = {}
    with required(source / SHEET, "RSPECT").open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        require_columns(source / SHEET, reader.fieldnames or [], COLUMNS, "RSPECT")
        for row in reader:  # one per image; all but pe_present_on_image is said of the study
            studies.setdefault(row["StudyInstanceUID"], row)
    return [_entry(source / "train", name, row) for name, row in studies.items()]


def _entry(folder: Path, study: str, row: dict[str, str]) -> Entry | Skipped:
    series = row["SeriesInstanceUID"]
    if not (PATIENT_ID.fullmatch(study) and PATIENT_ID.fullmatch(series)):
        return Skipped(study, "its UIDs are not RSPECT's")
    if row["indeterminate"] != "0":
        return Skipped(study, "indeterminate")
    if not (folder / study / series).is_dir():
        return Skipped(study, f"{folder / study / series} does not exist")
    return Entry(study, folder / study / series, label=int(row["negative_exam_for_pe"] == "0"))
