"""The kept tables of a study: what its pages are computed from.

| file | a row is |
|---|---|
| `runs.csv` | one training and its reading: steps, minutes, commit |
| `patients.csv.gz` | one patient, read by one run: score, decision, Dice, volumes in mL |
| `clots.csv.gz` | one clot of the test cohort: volume in mL, HU over blood, whether a run's marks found it |

`cohort` is `calibration`, which score and threshold were fitted on, or `test`. A clot is `found` (1) where a mark that
touches it has a `confidence` (expected mL) above that of all but one mark per patient without PE.

`study.keep` adds the rows of a run. A further study keeps tables of the same form in a folder of its own, which the
functions here and in `comparison` and `groups` take as `folder`.
"""

import gzip
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpmn.files import written_atomically

RESULTS = Path(__file__).parent / "results"
Folders = Path | tuple[Path, ...]
"""Of kept tables: one, or several with cohorts of their own."""
RUNS, PATIENTS, CLOTS = "runs.csv", "patients.csv.gz", "clots.csv.gz"
DECIMALS: dict[Hashable, int] = {
    "score": 12,
    "threshold": 12,
    "dice": 4,
    "dice_visible": 4,
    "reference_ml": 3,
    "predicted_ml": 3,
    "ml": 3,
    "confidence": 3,
}
DECIMALS |= {"noise_hu": 2, "contrast_hu": 2}
"""Digits that are kept: of scores so many that rounding brings no two patients of a run level."""


def read(name: str, folder: Path = RESULTS) -> pd.DataFrame:
    """A kept table; empty cells are NaN."""
    return pd.read_csv(folder / name, dtype={"commit": str})  # digits alone are no number


def kept(name: str, folder: Path) -> pd.DataFrame:
    """A kept table; empty where there is none yet."""
    return read(name, folder) if (folder / name).is_file() else pd.DataFrame()


def stacked(*tables: pd.DataFrame) -> pd.DataFrame:
    """The rows of all tables, one of which has some; an empty one has no columns to give."""
    return pd.concat([table for table in tables if not table.empty])


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table, compressed if its name ends in `.gz`: same rows, same bytes (no time and no name inside).

    Rows of a patient or clot should stand together, whatever the run: that is what makes the file small.
    """
    content = table.round(DECIMALS).to_csv(index=False).encode()
    with written_atomically(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def where(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows that have the `wanted` value in each named column."""
    return table.loc[np.logical_and.reduce([table[column] == value for column, value in wanted.items()])]


def patients_tested(difficulty: str, folder: Folders = RESULTS) -> pd.DataFrame:
    """Rows of the test cohort of a difficulty, by patient and run.

    Of several folders, whose cohorts differ, those of the runs that read all. A patient's name then begins with the
    folder's.
    """
    if isinstance(folder, Path):
        return where(read(PATIENTS, folder), difficulty=difficulty, cohort="test")
    cohorts = {one.name: patients_tested(difficulty, one) for one in folder}
    runs = set.intersection(*(set(rows["run"]) for rows in cohorts.values()))
    rows = stacked(*(rows.assign(patient_id=f"{name}/" + rows["patient_id"]) for name, rows in cohorts.items()))
    return rows.loc[rows["run"].isin(sorted(runs))]
