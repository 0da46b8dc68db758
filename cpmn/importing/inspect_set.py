"""INSPECT (Huang et al. 2023, arXiv 2311.10798): CTPA as NIfTI, labels from reports, no masks.

Final_metadata.csv      # impression_id, image_id        or study_mapping_20250611.tsv, with person_id
Final_labels.csv        # impression_id, pe_positive_nlp: the words True and False     or labels_20250611.tsv
Final_splits.csv        # impression_id, split           or splits_20250611.tsv
<image_id>.nii.gz       # anywhere below; in CTPA/ since June 2025

The names on the right are those of the release of June 2025 (version 3 at AIMI), whose sheets are separated by tabs.
"""

from pathlib import Path

from cpmn.files import read_table
from cpmn.importing.entry import Entry, Skipped, require_columns, required

LABELS = {"True": 1, "False": 0}
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}
SUFFIX = ".nii.gz"
SHEETS = {"metadata": "study_mapping", "labels": "labels", "splits": "splits"}
"""Names of the sheets since June 2025, before their date, by those of the first release."""
KEY = "impression_id"


def find_entries(source: Path) -> list[Entry | Skipped]:
    """Images named by the set's sheet of images. Raises CpmnError if a sheet is not there or lacks a column."""
    labels, splits = _column(source, "labels", "pe_positive_nlp"), _column(source, "splits", "split")
    images = {path.name.removesuffix(SUFFIX): path for path in sorted(source.rglob(f"*{SUFFIX}"))}
    rows = _rows(source, "metadata", "image_id")
    people = {row[KEY]: row.get("person_id") or "" for row in rows}
    named = {row["image_id"].removesuffix(SUFFIX): row[KEY] for row in rows}
    return [
        _entry(name, images.get(name), labels.get(key, ""), splits.get(key, ""), people[key])
        for name, key in named.items()
    ]


def _entry(name: str, path: Path | None, label: str, split: str, person: str) -> Entry | Skipped:
    if path is None:
        return Skipped(name, f"there is no {name}{SUFFIX}")
    if label not in LABELS:
        return Skipped(name, f"pe_positive_nlp is {label!r}, not True or False")
    if split not in SPLITS:
        return Skipped(name, f"split is {split!r}, not one of {', '.join(SPLITS)}")
    return Entry(name, path, label=LABELS[label], split=SPLITS[split], group=person)


def _column(source: Path, sheet: str, column: str) -> dict[str, str]:
    return {row[KEY]: row[column] for row in _rows(source, sheet, column)}


def _rows(source: Path, sheet: str, column: str) -> list[dict[str, str]]:
    newer = sorted(source.glob(f"{SHEETS[sheet]}_*.tsv"))
    path = newer[-1] if newer else required(source / f"Final_{sheet}.csv", "INSPECT")
    rows = read_table(path)
    require_columns(path, list(rows[0]) if rows else [], (KEY, column), "INSPECT")
    return rows
