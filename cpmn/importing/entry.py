"""What a set's adapter finds: one entry per patient."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import SimpleITK as sitk
from pandas.errors import EmptyDataError, ParserError

from cpmn.errors import CpmnError


@dataclass(frozen=True)
class Entry:
    """A patient of a public set.

    Attributes
    ----------
    patient_id : as the set names the patient.
    ctpa : folder of DICOM files, or one image file; stays where it is.
    label : 1 = PE, 0 = none, or None where the mask decides.
    mask : reads the embolus mask on the grid of the CTPA (uint16 clot ids); takes `overrule`, the names
        of checks whose refusal does not count, and raises PatientError. None where the set has none.
    split : train, validation or test where the set says so.
    group : person, where one has several entries.
    """

    patient_id: str
    ctpa: Path
    label: int | None = None
    mask: Callable[..., sitk.Image] | None = None
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Skipped:
    """A patient who is left out, and why."""

    patient_id: str
    reason: str


def required(path: Path, dataset: str) -> Path:
    """`path`, which the set's layout has. Raises CpmnError if it is absent."""
    if not path.exists():
        raise CpmnError(f"{path} does not exist: this folder does not hold {dataset} as it is published.")
    return path


def read_columns(path: Path, columns: Sequence[str], dataset: str, optional: Sequence[str] = ()) -> pd.DataFrame:
    """These columns of one of the set's sheets, as text; `optional` ones are empty where the sheet has none.

    Raises CpmnError if the sheet is absent or lacks a column.
    """
    text: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    text |= {"sep": "\t" if path.suffix == ".tsv" else ","}
    try:
        table = pd.read_csv(required(path, dataset), usecols=lambda name: name in (*columns, *optional), **text)
    except EmptyDataError:
        table = pd.DataFrame()
    except (UnicodeDecodeError, ParserError) as error:
        raise CpmnError(f"{path} cannot be read as a table in UTF-8 ({error}). Save it again.") from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise CpmnError(f"{path} has no column {', '.join(missing)}: this is not {dataset}'s sheet.")
    return table.reindex(columns=[*columns, *optional], fill_value="")


def natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key of a file name: numbers by value, so that D2 comes before D10."""
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"([0-9]+)", name))
