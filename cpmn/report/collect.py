"""Read what the stages wrote under `results/`; whatever is optional may be absent."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpmn.cohort.sheet import Patient
from cpmn.dicom.scanners import made_up
from cpmn.errors import CpmnError
from cpmn.files import read_json
from cpmn.job.identity import fold_folders
from cpmn.job.redact import without_paths
from cpmn.job.status import exclusions

REFERENCE_TEXT = {
    "nct_truth": "scoring reference on the non-contrast CT (nct_truth)",
    "nct_mask": "direct annotation on the non-contrast CT (nct_mask)",
    "propagated": "CTPA label propagated by registration",
    "label": "empty by the patient's label",
}

Row = dict[str, str]
Curve = list[dict[str, float | None]]


@dataclass(frozen=True)
class Exclusion:
    """Why a patient is not in the analysis."""

    patient: str
    stage: str
    reason: str


@dataclass(frozen=True)
class Results:
    """Everything the report shows, read from disk once; dictionaries are keyed by patient or by variant."""

    root: Path
    patients: list[Patient]
    variants: dict[str, dict[str, Any]]
    splits: dict[str, Any]
    excluded: dict[str, Exclusion]
    conversion: dict[str, dict[str, dict[str, Any]]]
    quality: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    scored: dict[str, dict[str, Row]]
    roc: dict[str, Curve]
    history: dict[str, dict[str, Curve]]
    plans: dict[str, dict[str, dict[str, Any]]]
    comparison: list[Row]

    @property
    def test(self) -> list[Patient]:
        """Test patients that were not excluded, in cohort order."""
        names = set(self.splits.get("test", []))
        return [p for p in self.patients if p.patient_id in names and p.patient_id not in self.excluded]


def collect(results: Path, patients: list[Patient], variants: dict[str, dict[str, Any]]) -> Results:
    """Read `results/`. Raises CpmnError naming the file for JSON or CSV that cannot be read."""
    names = [patient.patient_id for patient in patients]
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
        quality=_present({name: read_optional(results / "register" / name / "quality.json") for name in names}),
        metrics={variant: read_optional(evaluate / variant / "metrics.json") for variant in variants},
        scored={
            variant: {row.get("patient_id", ""): row for row in read_rows(evaluate / variant / "patients.csv")}
            for variant in variants
        },
        roc=_present({variant: _curve(evaluate / variant / "roc.csv") for variant in variants}),
        history=_present({variant: _history(folds[variant]) for variant in variants}),
        plans={
            variant: {fold.name: read_optional(fold / "plan.json") for fold in folds[variant]} for variant in variants
        },
        comparison=read_rows(evaluate / "comparison.csv"),
    )


def simulated(found: Results) -> str:
    """What of the scans is made up, by their own headers: 'all', 'disease' (in real chests) or '' (nothing)."""
    return made_up(facts.get("scanner") for scans in found.conversion.values() for facts in scans.values())


def read_optional(path: Path) -> dict[str, Any]:
    """JSON object of `path`; empty where the file is absent or empty (the patient was excluded)."""
    if not path.is_file() or path.stat().st_size == 0:
        return {}
    try:
        return read_json(path)
    except ValueError as error:
        raise CpmnError(f"{path} is not valid JSON: {error}. Delete it and run the same command again.") from error


def read_rows(path: Path) -> list[Row]:
    """Rows of a CSV file; none where it is absent or empty."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(stream)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CpmnError(f"{path} is not valid CSV: {error}. Delete it and run the same command again.") from error


def number(text: Any) -> float | None:
    """Number of a CSV or JSON value; None for anything else, NaN included."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if value == value else None


def _exclusions(results: Path, patients: list[Patient]) -> dict[str, Exclusion]:
    rows = {patient.patient_id: patient for patient in patients}
    return {
        name: Exclusion(name, status["stage"], without_paths(status["reason"], rows[name]))
        for name, status in exclusions(rows, results).items()
    }


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def _curve(path: Path) -> Curve:
    return [{key: number(value) for key, value in row.items()} for row in read_rows(path)]


def _history(folds: list[Path]) -> dict[str, Curve]:
    curves = {folder.name: _curve(folder / "history.csv") for folder in folds}
    return {fold: curve for fold, curve in curves.items() if curve}
