"""Read what the stages wrote under `results/`; whatever is optional may be absent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cpmn.cohort.sheet import Patient
from cpmn.dicom.scanners import made_up
from cpmn.errors import CpmnError
from cpmn.files import read_frame, read_json
from cpmn.job.identity import fold_folders
from cpmn.job.redact import without_paths
from cpmn.job.status import CTPA_ALONE_STAGES, exclusions

REFERENCE_TEXT = {
    "nct_truth": "scoring reference on the non-contrast CT (nct_truth)",
    "nct_mask": "direct annotation on the non-contrast CT (nct_mask)",
    "propagated": "CTPA label propagated by registration",
    "label": "empty by the patient's label",
}


SCORED = {
    **dict.fromkeys(("patient_id", "reference"), object),
    **dict.fromkeys(("score", "decision", "dice", "lesions", "lesions_found", "false_positives"), float),
}
"""Columns of `patients.csv` that are counted or drawn, and what they hold."""


@dataclass(frozen=True)
class Exclusion:
    """Why a patient is not in the analysis."""

    patient: str
    stage: str
    reason: str


@dataclass(frozen=True)
class Results:
    """Everything the report shows, read from disk once; dictionaries are keyed by patient or by variant.

    Tables are as their files, empty where there is none; those of `scored` are indexed by patient.
    """

    root: Path
    patients: list[Patient]
    variants: dict[str, dict[str, Any]]
    splits: dict[str, Any]
    excluded: dict[str, Exclusion]
    conversion: dict[str, dict[str, dict[str, Any]]]
    quality: dict[str, dict[str, Any]]
    crops: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    scored: dict[str, pd.DataFrame]
    roc: dict[str, pd.DataFrame]
    history: dict[str, dict[str, pd.DataFrame]]
    plans: dict[str, dict[str, dict[str, Any]]]
    comparison: pd.DataFrame

    @property
    def test(self) -> list[Patient]:
        """Test patients that were not excluded, in cohort order."""
        names = set(self.splits.get("test", []))
        return [p for p in self.patients if p.patient_id in names and p.patient_id not in self.excluded]


def collect(results: Path, patients: list[Patient], variants: dict[str, dict[str, Any]]) -> Results:
    """Read `results/`. Raises CpmnError naming the file for JSON or CSV that cannot be read."""
    names = [patient.patient_id for patient in patients]
    pairs = [patient.patient_id for patient in patients if patient.nct and patient.ctpa]  # others may have older files
    evaluate, splits = results / "evaluate", read_optional(results / "train" / "splits.json")
    folds = {variant: fold_folders(results, variant) if splits else [] for variant in variants}
    return Results(
        root=results,
        patients=patients,
        variants=variants,
        splits=splits,
        excluded=_exclusions(results, patients),
        conversion={
            name: {phase: read_optional(results / "convert" / name / f"{phase}.json") for phase in ("nct", "ctpa")}
            for name in names
        },
        quality=_present({name: read_optional(results / "register" / name / "quality.json") for name in pairs}),
        crops=_present({name: read_optional(results / "crop" / name / "crop.json") for name in names}),
        metrics={variant: read_optional(evaluate / variant / "metrics.json") for variant in variants},
        scored={
            variant: read_optional_frame(evaluate / variant / "patients.csv", SCORED).set_index("patient_id")
            for variant in variants
        },
        roc=_filled({variant: read_optional_frame(evaluate / variant / "roc.csv") for variant in variants}),
        history=_present({variant: _history(folds[variant]) for variant in variants}),
        plans={
            variant: {fold.name: read_optional(fold / "plan.json") for fold in folds[variant]} for variant in variants
        },
        comparison=read_optional_frame(evaluate / "comparison.csv"),
    )


def labels(patients: Sequence[Patient]) -> pd.Series:
    """Label (1 is PE) by patient, in the patients' order."""
    return pd.Series({patient.patient_id: patient.label for patient in patients}, dtype=int)


def simulated(found: Results) -> str:
    """What of the scans is made up, by their own headers: 'all', 'disease' (in real chests) or '' (nothing)."""
    return made_up(scanners(found))


def scanners(found: Results) -> list[dict[str, Any] | None]:
    """What made each scan, as far as it says so."""
    return [facts.get("scanner") for scans in found.conversion.values() for facts in scans.values()]


def read_optional(path: Path) -> dict[str, Any]:
    """JSON object of `path`; empty where the file is absent or empty (the patient was excluded)."""
    if not path.is_file() or path.stat().st_size == 0:
        return {}
    try:
        return read_json(path)
    except ValueError as error:
        raise CpmnError(f"{path} is not valid JSON: {error}. Delete it and run the same command again.") from error


def read_optional_frame(path: Path, kinds: Mapping[str, type] | None = None) -> pd.DataFrame:
    """Table of a CSV file, without rows where the file is absent or empty.

    `kinds` names columns that it must have, and what they hold: float or object. Raises CpmnError naming the file.
    """
    kinds = kinds or {}
    if not path.is_file() or path.stat().st_size == 0:
        return pd.DataFrame(columns=pd.Index(kinds)).astype(dict(kinds))
    try:
        return read_frame(path).astype(dict(kinds))
    except (KeyError, ValueError) as error:
        problem = str(error.args[0]).strip()
        raise CpmnError(f"{path} is not valid: {problem}. Delete it and run the same command again.") from error


def number(text: Any) -> float | None:
    """Number of a cell or a JSON value; None for anything else, NaN included."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if value == value else None


def _exclusions(results: Path, patients: list[Patient]) -> dict[str, Exclusion]:
    rows = {patient.patient_id: patient for patient in patients}
    with_nct = [name for name, patient in rows.items() if patient.nct]
    alone = [name for name in rows if name not in set(with_nct)]  # they have other stages
    found = exclusions(with_nct, results) | exclusions(alone, results, CTPA_ALONE_STAGES)
    return {
        name: Exclusion(name, found[name]["stage"], without_paths(found[name]["reason"], rows[name]))
        for name in rows
        if name in found
    }


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def _filled(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {key: table for key, table in tables.items() if len(table)}


def _history(folds: list[Path]) -> dict[str, pd.DataFrame]:
    return _filled({folder.name: read_optional_frame(folder / "history.csv") for folder in folds})
