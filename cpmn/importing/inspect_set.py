"""INSPECT (Huang et al. 2023, arXiv 2311.10798): CTPA as NIfTI, labels from reports, no masks.

Final_metadata.csv      # impression_id, image_id        or study_mapping_20250611.tsv, with person_id
Final_labels.csv        # impression_id, pe_positive_nlp: the words True and False     or labels_20250611.tsv
Final_splits.csv        # impression_id, split           or splits_20250611.tsv
<image_id>.nii.gz       # anywhere below; in CTPA/ since June 2025

The names on the right are those of the release of June 2025 (version 3 at AIMI), whose sheets are separated by tabs.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cpmn.importing.entry import Entry, Skipped, read_columns

LABELS = {"True": 1, "False": 0}
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}
SUFFIX = ".nii.gz"
SHEETS = {"metadata": "study_mapping", "labels": "labels", "splits": "splits"}
"""Names of the sheets since June 2025, before their date, by those of the first release."""
KEY = "impression_id"


def find_entries(source: Path) -> list[Entry | Skipped]:
    """Images named by the set's sheet of images. Raises CpmnError if a sheet is not there or lacks a column."""
    images = {path.name.removesuffix(SUFFIX): path for path in sorted(source.rglob(f"*{SUFFIX}"))}
    scans = _sheet(source, "metadata", "image_id", optional=["person_id"])
    for sheet, column in (("labels", "pe_positive_nlp"), ("splits", "split")):
        scans = scans.merge(_sheet(source, sheet, column).drop_duplicates(KEY, keep="last"), on=KEY, how="left")
    scans["image_id"] = scans["image_id"].str.removesuffix(SUFFIX)
    rows = scans.fillna("").drop_duplicates("image_id", keep="last").to_dict("records")
    return [
        _entry(row["image_id"], images.get(row["image_id"]), row["pe_positive_nlp"], row["split"], row["person_id"])
        for row in rows
    ]


def _entry(name: str, path: Path | None, label: str, split: str, person: str) -> Entry | Skipped:
    if path is None:
        return Skipped(name, f"there is no {name}{SUFFIX}")
    if label not in LABELS:
        return Skipped(name, f"pe_positive_nlp is {label!r}, not True or False")
    if split not in SPLITS:
        return Skipped(name, f"split is {split!r}, not one of {', '.join(SPLITS)}")
    return Entry(name, path, label=LABELS[label], split=SPLITS[split], group=person)


def _sheet(source: Path, sheet: str, column: str, optional: Sequence[str] = ()) -> pd.DataFrame:
    newer = sorted(source.glob(f"{SHEETS[sheet]}_*.tsv"))
    return read_columns(newer[-1] if newer else source / f"Final_{sheet}.csv", (KEY, column), "INSPECT", optional)
