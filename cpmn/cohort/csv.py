"""CSV sheets that a user gives, with what spreadsheets do to them: marks, spaces, empty rows, other separators.

Not with pandas: every job of the workflow reads the cohort and would load it, in 0.3 s for a sheet that is read in
1 ms; and its errors do not name the line of the sheet.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpmn.errors import CpmnError

SURPLUS = "cells without a column"
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass
class Sheet:
    """Names of the columns, the rows by them, and the number of each row's line as a spreadsheet shows it.

    Cells beyond the last column stand in a list under `SURPLUS`. Rows without any text are left out.
    """

    columns: list[str]
    rows: list[dict[str, Any]]
    lines: list[int]


def read_sheet(path: Path) -> Sheet:
    """Read a CSV file in UTF-8, separated by commas.

    Raises CpmnError if it is not one, is separated by something else, or names a column twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restkey=SURPLUS)
            reader.fieldnames = columns = _columns(list(reader.fieldnames or []), path)
            numbered = [(reader.line_num, row) for row in reader if any(map(_has_text, row.values()))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CpmnError(f"{path} cannot be read as UTF-8 CSV: {error}. Export the sheet as CSV (UTF-8).") from error
    return Sheet(columns, [row for _, row in numbered], [line for line, _ in numbered])


def _columns(names: list[str], path: Path) -> list[str]:
    """Names without the spaces around them and without nameless columns at the end."""
    other = next((name for separator, name in SEPARATORS.items() if separator in names[0]), "") if names else ""
    if other and len(names) == 1:
        raise CpmnError(f"{path} is separated by {other}. Export the sheet with commas.")
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise CpmnError(f"{path}: column '{twice[0]}' stands twice. Keep one of them.")
    return names


def _has_text(cell: Any) -> bool:
    return any(map(_has_text, cell)) if isinstance(cell, list) else bool((cell or "").strip())
