"""The cohort sheet: who takes part, and where the scans and labels lie."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cpmn.cohort.csv import SURPLUS, read_sheet
from cpmn.cohort.paths import located, odd_spelling, visible
from cpmn.errors import CpmnError

REQUIRED_COLUMNS = ("patient_id", "ctpa", "nct", "ctpa_mask", "label")
SCAN_COLUMNS = ("ctpa", "nct")
FILE_COLUMNS = (*SCAN_COLUMNS, "ctpa_mask", "nct_mask", "nct_truth", "vessels")
OPTIONAL_COLUMNS = (
    *("nct_mask", "nct_truth", "vessels", "split", "group", "ctpa_series", "nct_series"),
    "overrule",
)
TOO_LONG = Path("too-long")  # stands for a path that no disk has; those of a sheet are absolute
LONGEST_SHOWN = 200  # characters of a value in a message
MOST_SHOWN = 100  # problems in one message
MOST_PATIENTS = 50_000  # our choice: twice the largest public set; Snakemake takes hours for more
PATIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Patient(BaseModel):
    """One row of `cohort.csv`. Paths are absolute, in jobs also from the run's folder; label 1 is PE, 0 is not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patient_id: str = Field(description="Identifier; letters, digits, '_' and '-', as it becomes a folder name.")
    label: Literal[0, 1] = Field(description="1 = pulmonary embolism, 0 = none.")
    nct: Path | None = Field(
        None, description="Non-contrast CT: folder or .zip of DICOM files, or one image file. Without it never scored."
    )
    ctpa: Path | None = Field(
        None, description="CT pulmonary angiography: folder or .zip of DICOM files, or one image file."
    )
    ctpa_mask: Path | None = Field(
        None, description="Embolus label on the CTPA grid; values are clot ids, one value is split."
    )
    nct_mask: Path | None = Field(None, description="Direct annotation on the NCT grid; replaces propagation.")
    nct_truth: Path | None = Field(None, description="Reference on the NCT grid for scoring only.")
    vessels: Path | None = Field(
        None, description="Pulmonary vessels on the NCT grid, made from the NCT alone: 1 = artery, 2 = vein."
    )
    split: Literal["", "train", "validation", "calibration", "test"] = Field(
        "", description="Fixed part of the split, if any; calibration patients fit the decision and nothing else."
    )
    group: str = Field("", description="Patients of one group are never divided; defaults to the patient.")
    ctpa_series: str = Field("", description="SeriesInstanceUID of the CTPA, where the folder holds several.")
    nct_series: str = Field("", description="SeriesInstanceUID of the NCT, where the folder holds several.")

    overrule: tuple[str, ...] = Field(
        (), description="Checks that a person overrules for this patient, by name and separated by blanks."
    )

    @field_validator("patient_id")
    @classmethod
    def _safe_name(cls, value: str) -> str:
        if not PATIENT_ID.fullmatch(value):
            raise ValueError("must be 1-64 letters, digits, '_' or '-', starting with a letter or digit")
        return value

    @field_validator(*FILE_COLUMNS)
    @classmethod
    def _plain_path(cls, value: Path | None) -> Path | None:
        if value == TOO_LONG:
            raise ValueError("is longer than the 255 bytes of a name or the 4,095 of a path that disks take")
        if value is not None and set("{}<>").intersection(str(value)):
            raise ValueError("must not hold {, }, < or >, which Snakemake takes for its own")
        if value is not None and any(unicodedata.category(sign) == "Cc" for sign in str(value)):
            raise ValueError("must not hold control characters")
        return value

    @model_validator(mode="after")
    def _has_a_scan(self) -> "Patient":
        if self.nct is None and self.ctpa is None:
            raise ValueError("has neither nct nor ctpa; name at least one scan")
        return self

    @model_validator(mode="after")
    def _group_defaults_to_patient(self) -> "Patient":
        if not self.group:
            object.__setattr__(self, "group", self.patient_id)
        return self

    def scan(self, phase: str) -> Path | None:
        """Where the scan of a phase ("nct" or "ctpa") lies."""
        return self.nct if phase == "nct" else self.ctpa

    def series_uid(self, phase: str) -> str:
        """The series of a phase that the row names; empty where the rules are to choose."""
        return self.nct_series if phase == "nct" else self.ctpa_series


def load_cohort(path: Path | str) -> list[Patient]:
    """Read and validate `cohort.csv`; relative paths are relative to it.

    Raises CpmnError naming the column, or every wrong row with its line number, when the sheet is not valid.
    Whether files exist is not checked here: that is each patient's own affair (see `missing_files`).
    """
    path = Path(path)
    if not path.is_file():
        raise CpmnError(f"cohort sheet {path.absolute()} does not exist. Give the path of a CSV file as 'cohort'.")
    sheet = read_sheet(path)
    return parse_cohort(sheet.columns, sheet.rows, path, lines=sheet.lines)


def parse_cohort(
    columns: list[str], rows: list[dict[str, Any]], path: Path, lines: Iterable[int] | None = None
) -> list[Patient]:
    """Validate the columns and rows of a sheet that lies (or will lie) at `path`. Raises as `load_cohort`.

    `lines` are the rows' numbers in messages, where they do not follow each other from 2.
    """
    _check_columns(columns, path)
    if len(rows) > MOST_PATIENTS:
        raise CpmnError(f"{path} has {len(rows)} rows, {MOST_PATIENTS} at most. Divide the cohort.")
    patients, problems = [], []
    for line, row in zip(lines or count(2), rows, strict=False):
        if any(cell.strip() for cell in row.get(SURPLUS) or []):
            problems.append(f"row {line} has more cells than columns; a value that holds a comma needs double quotes")
            continue
        try:
            patients.append(_parse_row(row, path.parent))
        except ValidationError as error:
            problems += [f"row {line}{_column(item)}: {_reason(item)}" for item in error.errors()]
    problems += _shared_ids(patients)
    if not rows:
        problems.append("the sheet has no patients")
    if problems:
        shown = [*problems[:MOST_SHOWN], *([f"and {len(problems) - MOST_SHOWN} more"] * (len(problems) > MOST_SHOWN))]
        raise CpmnError(f"{path} is not valid:\n" + "\n".join(f"  {problem}" for problem in shown))
    return patients


def missing_files(patient: Patient) -> list[str]:
    """Messages for files that the patient's row names but that do not exist or are empty, and masks without a scan."""
    named = {name: getattr(patient, name) for name in FILE_COLUMNS}
    problems = [f"{name}: {path} {problem}" for name, path in named.items() if path and (problem := _gap(name, path))]
    drawn_on = {"ctpa_mask": "ctpa", "nct_mask": "nct", "nct_truth": "nct", "vessels": "nct"}
    return problems + [
        f"{mask} is given without {'a ctpa' if scan == 'ctpa' else 'an nct'}"
        for mask, scan in drawn_on.items()
        if getattr(patient, mask) and not getattr(patient, scan)
    ]


def _gap(column: str, path: Path) -> str:
    """What lacks at `path`, as a clause; empty if nothing does."""
    if not path.exists():
        why = odd_spelling(path)
        return f"does not exist: {why}" if why else "does not exist"
    if path.is_dir() and column not in SCAN_COLUMNS:
        return "is a folder; give one image file"
    if path.is_dir() and not any(path.iterdir()):
        return "is an empty folder"
    return "is an empty file" if path.is_file() and not path.stat().st_size else ""


def shared_scans(patients: Iterable[Patient]) -> list[str]:
    """Warnings of scans that stand in the rows of several patients: one may train and test, or be PE and not."""
    owners: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for patient in patients:
        for phase in SCAN_COLUMNS:
            if (path := patient.scan(phase)) is not None:
                owners[os.path.normpath(path), patient.series_uid(phase)][patient.patient_id] = None
    return [
        f"{path} is a scan of {' and '.join(found)}: training may have seen what is tested. Give each patient's own, "
        "or name the series of each."
        for (path, _), found in owners.items()
        if len(found) > 1
    ]


def require_references(patients: Iterable[Patient]) -> None:
    """Raise CpmnError with each `nct_truth` that does not exist: only evaluation reads them, hours after the start."""
    missing = [p for p in patients if p.nct_truth and not p.nct_truth.exists()]
    if missing:
        lines = "\n".join(f"  patient {p.patient_id}: {p.nct_truth}" for p in missing)
        raise CpmnError(f"cohort.csv: nct_truth does not exist. Correct the path, or leave it empty:\n{lines}")


def _check_columns(columns: list[str], path: Path) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    unknown = [name for name in columns if name not in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)]
    if missing or unknown:
        problem = "; ".join(
            [f"column '{name}' is missing" for name in missing] + [f"column '{name}' is not known" for name in unknown]
        )
        allowed = ", ".join((*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS))
        raise CpmnError(f"{path}: {problem}. The columns are: {allowed}.")


def _shared_ids(patients: list[Patient]) -> list[str]:
    counts = Counter(patient.patient_id for patient in patients)
    problems = [f"patient_id '{name}' stands in {n} rows; each patient has one" for name, n in counts.items() if n > 1]
    folders: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        folders[name.lower()].append(name)
    return problems + [
        f"patient_id {' and '.join(map(repr, names))} name one folder on some disks; tell them apart"
        for names in folders.values()
        if len(names) > 1
    ]


def _parse_row(row: dict[str, Any], folder: Path) -> Patient:
    cells = {key: value or "" for key, value in row.items() if key != SURPLUS}
    values = {key: value.strip() if key in FILE_COLUMNS else visible(value) for key, value in cells.items()}
    for key in FILE_COLUMNS:
        if values.get(key):
            values[key] = located(folder, values[key]) if _is_short(values[key]) else TOO_LONG
        else:
            values.pop(key, None)
    label = values.get("label", "")
    overrule = tuple(values.pop("overrule", "").split())
    return Patient.model_validate(
        values | {"label": int(label) if label in ("0", "1") else label, "overrule": overrule}
    )


def _is_short(path: str) -> bool:
    """Whether a file may have this path: disks take names of 255 bytes, the system paths of 4,095."""
    return len(os.fsencode(path)) < 4096 and all(len(os.fsencode(name)) < 256 for name in re.split(r"[/\\]", path))


def _column(item: Any) -> str:
    """Which column is wrong, as a clause; empty where the row as a whole is."""
    return f", column {'.'.join(map(str, item['loc']))}" if item["loc"] else ""


def _reason(item: Any) -> str:
    if item["type"] == "missing":
        return "is empty"
    why = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:
        return f"{why} (patient {item['input'].get('patient_id')})"
    given = repr(item["input"])
    return f"{why} (given: {given[:LONGEST_SHOWN]}{'...' * (len(given) > LONGEST_SHOWN)})"
