"""Tables: what pandas writes and reads beside the standard library's csv."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.libraries import former
from benchmarks.libraries.trial import Trial
from cpmn.cohort.csv import read_sheet
from cpmn.files import write_table

ROWS = 400
COLUMNS = ("patient_id", "label", "score", "dice", "reference")


def trials() -> Iterator[Trial]:
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {"patient_id": f"p{n:03d}", "label": n % 2, "score": score, "dice": score if n % 2 else None}
        for n, score in enumerate(random.random(ROWS))
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        yield Trial(
            f"writing a table of {ROWS} rows",
            "pandas DataFrame.to_csv",
            "pandas",
            lambda: former.table_text(COLUMNS, rows),
            lambda: _written(path, rows),
            taken=True,
            why="same bytes; loaded by jobs that write or join tables only",
            difference=lambda one, other: float(one != other),
            unit="files that differ",
        )
        path.write_text(former.table_text(COLUMNS, rows))
        yield Trial(
            f"reading a cohort's sheet of {ROWS} rows",
            "pandas.read_csv",
            "pandas",
            lambda: read_sheet(path),
            lambda: pd.read_csv(path, dtype=str, keep_default_na=False),
            taken=False,
            why="every job reads it and would load pandas, whose errors do not name the sheet's line",
        )


def _written(path: Path, rows: list[dict[str, Any]]) -> str:
    write_table(path, COLUMNS, rows)
    return path.read_text()
