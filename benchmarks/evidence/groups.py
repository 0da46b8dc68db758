"""What a variant finds of patients and of clots, by what makes them easy or hard to find: means over its seeds."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.clots import clots_found
from benchmarks.evidence.markdown import estimate, table
from benchmarks.evidence.plan import Role, Run
from benchmarks.evidence.statistics import cohort_rows
from cpmn.phantom.difficulty import ISODENSE
from cpmn.scoring.metrics import auc

PARTS = 3
VISIBLE_ML = "visible_ml"
COLUMNS = {"reference_ml": "mL", VISIBLE_ML: "visible mL", "noise_hu": "HU noise"}

Row = Mapping[str, Any]
Patients = tuple[list[Row], list[float]]  # rows of PE patients, scores of normals


def patient_lines(runs: Sequence[Run], results: Path) -> Iterator[str]:
    """PE patients in thirds of clot volume, of visible clot and of noise: what was found of them, AUC and Dice."""
    variants = patients_of_seeds(runs, results)
    if not variants:
        return
    yield "PE patients in thirds by volume of clot (*visible*: of those more than 8 HU from blood on the NCT, where"
    yield "there are others) and by noise of the scan (share found; AUC against all patients without PE; Dice; each the"
    yield "mean over patients and seeds):\n"
    rows = []
    for column, unit in COLUMNS.items():
        if not all(column in row for seeds in variants.values() for pe, _ in seeds for row in pe):
            continue
        for part, limits in enumerate(third_limits(next(iter(variants.values())), column)):
            cells = [f"{figure:.3f}" for seeds in variants.values() for figure in third(seeds, column, part)]
            rows.append([f"{limits} {unit}", *cells])
    yield from table(
        ["PE patients", *(head for label in variants for head in (f"{label}: found", "AUC", "Dice"))], rows
    )


def patients_of_seeds(runs: Sequence[Run], results: Path) -> dict[str, list[Patients]]:
    """Patients by variant, one of each seed; variants with fewer PE patients than thirds are left out."""
    variants = {label: [_patients(run, results) for run in own] for label, own in by_variant(runs).items()}
    return {label: seeds for label, seeds in variants.items() if all(len(pe) >= PARTS for pe, _ in seeds)}


def third_limits(seeds: Sequence[Patients], column: str) -> list[str]:
    """Lowest and highest value of each third."""
    values = sorted(float(row[column]) for row in seeds[0][0])
    thirds = [_part(values, part) for part in range(PARTS)]
    return [f"{own[0]:.1f} to {own[-1]:.1f}" for own in thirds]


def third(seeds: Sequence[Patients], column: str, part: int) -> np.ndarray:
    """Share found, AUC against all normals and Dice of the `part`-th third by `column`; means over seeds."""
    figures = []
    for pe, normal in seeds:
        own = _part(sorted(pe, key=lambda row: float(row[column])), part)
        labels, scores = [1] * len(own) + [0] * len(normal), [*(float(row["score"]) for row in own), *normal]
        found, overlap = [row["decision"] == "1" for row in own], [float(row["dice"] or 0) for row in own]
        figures.append([np.mean(found), auc(labels, scores)["value"], np.mean(overlap)])
    return np.array(figures, float).mean(axis=0)


def clot_lines(runs: Sequence[Run], results: Path, limits: Mapping[str, float]) -> Iterator[str]:
    """Share of the clots found by volume and contrast, beside the reference observer's `limits` by group."""
    variants = {
        label: [cohort_rows(results / run.name / "clots.csv", run.judged) for run in own]
        for label, own in by_variant(runs).items()
    }
    variants = {label: seeds for label, seeds in variants.items() if all(seeds)}
    if not variants:
        return
    yield "Clots found at one false mark per patient without PE, by volume and by contrast to blood on the NCT (share"
    yield "over seeds; interval by patients as clusters, not over seeds, nor of the limit, which is set on these same"
    yield "patients without PE; a mark that touches a clot finds it). The"
    yield "reference observer read other patients, on the demo's coarser voxels, and counts wrong sites"
    yield "instead of marks ([observer](observer.md)):\n"
    found = [clots_found([row for rows in seeds for row in rows]) for seeds in variants.values()]
    number = clots_found(next(iter(variants.values()))[0])
    rows = [
        [name, str(one["n"]), *(estimate(f[name]) for f in found), f"{limits[name]:.3f}" if name in limits else ""]
        for name, one in number.items()
        if one["n"]
    ]
    yield from table(["clots", "number", *variants, "reference observer"], rows)


def by_variant(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of each variant, one a seed."""
    variants: dict[str, list[Run]] = {}
    for run in runs:
        variants.setdefault(run.label, []).append(run)
    return variants


def _patients(run: Run, results: Path) -> Patients:
    normals = cohort_rows(results / run.name / "patients.csv", run.judged, label="0")
    return pe_rows(results / run.name, run.judged), [float(row["score"]) for row in normals]


def pe_rows(folder: Path, role: Role = "test") -> list[Row]:
    """Rows of a run's PE patients of a cohort; with the volume of visible clot if some clots are not visible."""
    rows = cohort_rows(folder / "patients.csv", role, label="1")
    clots = cohort_rows(folder / "clots.csv", role) if rows else []
    visible = [row for row in clots if abs(float(row["contrast_hu"])) > ISODENSE[1]]
    if len(visible) == len(clots):
        return list(rows)
    sums = dict.fromkeys((row["patient_id"] for row in rows), 0.0)
    for clot in visible:
        sums[clot["patient_id"]] += float(clot["ml"])
    return [row | {VISIBLE_ML: sums[row["patient_id"]]} for row in rows]


def _part(values: Sequence[Any], part: int) -> Sequence[Any]:
    return values[len(values) * part // PARTS : len(values) * (part + 1) // PARTS]
