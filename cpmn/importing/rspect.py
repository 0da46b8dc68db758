"""RSNA-STR 2020 (RSPECT; Colak et al., Radiol Artif Intell 2021;3:e200254): CTPA as DICOM, labels per study, no masks.

    train.csv
    train/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm

A study has PE if it is neither negative nor indeterminate; indeterminate ones are left out.
"""

from pathlib import Path
from typing import Any

from cpmn.cohort.sheet import PATIENT_ID
from cpmn.importing.entry import Entry, Skipped, read_columns

SHEET = "train.csv"
COLUMNS = ("StudyInstanceUID", "SeriesInstanceUID", "negative_exam_for_pe", "indeterminate")


YES_OR_NO = {"0": False, "1": True, "0.0": False, "1.0": True}  # with a decimal after a sheet was joined to another


def find_entries(source: Path) -> list[Entry | Skipped]:
    """Studies of `source`/train.csv. Raises CpmnError if it is not there or lacks a column."""
    images = read_columns(source / SHEET, COLUMNS, "RSPECT")
    studies = images.drop_duplicates("StudyInstanceUID")  # one row per image; these columns are said of the study
    return [_entry(source / "train", row) for row in studies.to_dict("records")]


def _entry(folder: Path, row: dict[Any, str]) -> Entry | Skipped:
    study, series = row["StudyInstanceUID"], row["SeriesInstanceUID"]
    if not (PATIENT_ID.fullmatch(study) and PATIENT_ID.fullmatch(series)):
        return Skipped(study, "its UIDs are not RSPECT's")
    negative, indeterminate = (YES_OR_NO.get(row[name]) for name in COLUMNS[2:])
    if negative is None or indeterminate is None:
        wrong = [f"{name} is '{row[name]}'" for name in COLUMNS[2:] if row[name] not in YES_OR_NO]
        return Skipped(study, f"{' and '.join(wrong)}, which is neither 0 nor 1")
    if indeterminate:
        return Skipped(study, "indeterminate")
    if not (folder / study / series).is_dir():
        return Skipped(study, f"{folder / study / series} does not exist")
    return Entry(study, folder / study / series, label=int(not negative))
