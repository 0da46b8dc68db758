"""From a finished run of the study to rows of the kept tables.

A run keeps no probabilities, and how sure it is of a clot follows from them: its test patients are read once more, as
`evaluate` read them, which also says how long that takes.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from tqdm import tqdm

from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.config.evaluate import READING, EvaluateConfig
from cpmn.errors import CpmnError
from cpmn.files import read_json
from cpmn.model.ensemble import load_folds, on_native, read_crop
from cpmn.model.plan import read_plan
from cpmn.scoring.agreement import mark_lesions
from cpmn.scoring.lesions import Lesions, match_lesions
from cpmn.volume.images import read_image
from study.cohort import part_of, phantom_name
from study.tables import CLOTS, PATIENTS, RESULTS, RUNS, kept, stacked, write

FALSE_MARKS = 1.0  # per patient without PE, at which clots count as found
KEPT = ("calibration", "test")
ORDER = {
    RUNS: ["difficulty", "run"],
    PATIENTS: ["difficulty", "cohort", "patient_id", "run"],
    CLOTS: ["difficulty", "patient_id", "clot_id", "run"],
}
"""Rows of a patient or clot stand together: see `study.tables.write`."""
SAME = ["label", "reference_ml", "noise_hu"]  # what tells two phantoms of one name apart
COLUMNS = {
    PATIENTS: ["score", "threshold", "decision", "dice", "reference_ml", "predicted_ml"],
    CLOTS: ["difficulty", "run", "patient_id", "clot_id", "ml", "contrast_hu", "found", "confidence"],
}

Tables = dict[str, pd.DataFrame]
Facts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """One training of the run in `results` and the name that its rows get: `cpmn-s1` is `cpmn` with seed 1.

    `facts` are the phantoms' own, by patient.
    """

    results: Path
    folder: str
    variant: str
    seed: int
    difficulty: str
    facts: Facts

    @property
    def name(self) -> str:
        """Name of the training in all tables."""
        return f"{self.variant}-s{self.seed}"


def keep(results: Path, folder: Path = RESULTS) -> dict[str, bool]:
    """Add every evaluated training of a run to the tables in `folder`; whether each was added, by name.

    A training of a name and difficulty that stands there already is left as it is.

    Parameters
    ----------
    results : `results` of a folder in which `study/Snakefile` ran, beside its `cohort.csv` and `data`.
    folder : of the tables, made where there are none.

    Raises CpmnError where nothing was evaluated, where the run judged other patients than the study's test cohort, or
    where its patients are not those of the tables.
    """
    runs = find_runs(results)
    tables = {name: kept(name, folder) for name in ORDER}
    runs_kept = tables[RUNS]
    standing = set() if runs_kept.empty else set(zip(runs_kept["difficulty"], runs_kept["run"], strict=True))
    added = {run.name: (run.difficulty, run.name) not in standing for run in runs}
    for run in runs:
        if added[run.name]:
            tables = joined(tables, rows_of(run))
    for name, table in tables.items():
        write(table, folder / name)
    return added


def find_runs(results: Path) -> list[Run]:
    """The trainings of a run that were evaluated. Raises CpmnError as `keep`."""
    patients = load_cohort(results.parent / "cohort.csv")
    judged = {part_of(patient.patient_id) for patient in patients if patient.split == "test"}
    if judged != {"test"}:
        raise CpmnError(f"{results} judged {', '.join(sorted(judged))}. Only readings of the test cohort are kept.")
    facts = {patient.patient_id: read_json(_folder(patient) / "phantom.json") for patient in patients}
    difficulty = facts[patients[0].patient_id]["difficulty"]
    exact = "" if any(patient.ctpa for patient in patients) else "_truth"  # the control that trains on the truth
    folders = sorted(path.parent for path in results.glob("evaluate/*/metrics.json"))
    if (track := results / "track.json").is_file():  # others may be left from an older configuration
        folders = [path for path in folders if path.name in read_json(track)["variants"]]
    if not folders:
        raise CpmnError(f"{results} holds no evaluated training. Let the study's command end first.")
    return [
        Run(
            results,
            path.name,
            re.sub(r"-s\d+$", "", path.name) + exact,
            read_plan(results / "train" / path.name / "fold-0").seed,
            difficulty,
            facts,
        )
        for path in folders
    ]


def _folder(patient: Patient) -> Path:
    """Where the patient's phantom lies."""
    scan = patient.nct or patient.ctpa
    assert scan is not None
    return scan.parent


def rows_of(run: Run) -> Tables:
    """A training's rows of the three tables."""
    folder = run.results / "evaluate" / run.folder
    decision, scored = read_json(folder / "decision.json"), pd.read_csv(folder / "patients.csv")
    scored = scored.loc[scored["split"].isin(KEPT) & scored["score"].notna()]
    test = scored.loc[scored["split"] == "test"].set_index("patient_id")["label"]
    found, seconds = _read_again(run, list(test.index), decision)
    normals = [lesions for name, lesions in found.items() if not test[name]]
    clots = _clot_rows(run, {name: found[name] for name in test.index[test == 1]}, confidence_limit(normals))
    return {
        RUNS: pd.DataFrame([_run_row(run, decision, seconds)]),
        PATIENTS: _patient_rows(run, scored),
        CLOTS: pd.DataFrame(clots, columns=pd.Index(COLUMNS[CLOTS])),
    }


def joined(tables: Tables, rows: Tables) -> Tables:
    """The tables with further rows, in their order. Raises CpmnError if patients of one name are not the same."""
    old = tables[PATIENTS]
    if not old.empty:
        key = ["difficulty", "cohort", "patient_id"]
        pairs = rows[PATIENTS].merge(old.drop_duplicates(key), on=key, suffixes=("", "_kept"))
        differs = [(pairs[name] - pairs[f"{name}_kept"]).abs().to_numpy() > 0.01 for name in SAME]
        if changed := list(pairs.loc[np.logical_or.reduce(differs), "patient_id"]):
            raise CpmnError(
                f"{len(changed)} patients, {changed[0]} first, are not those of the kept tables: the phantom has "
                "changed since. Keep the run's tables in a folder of their own (--into)."
            )
    return {
        name: stacked(tables[name], rows[name]).sort_values(ORDER[name], kind="stable").reset_index(drop=True)
        for name in ORDER
    }


def confidence_limit(normals: list[Lesions]) -> float:
    """Confidence in mL that `FALSE_MARKS` marks per patient without PE exceed; 0 where there are fewer marks."""
    marks = np.sort(np.concatenate([lesions.confidence for lesions in normals] or [np.zeros(0)]))[::-1]
    allowed = round(FALSE_MARKS * len(normals))
    return float(marks[allowed]) if len(marks) > allowed else 0.0


def _read_again(run: Run, names: list[str], decision: Mapping[str, Any]) -> tuple[dict[str, Lesions], list[float]]:
    """Marks beside clots of the patients, and the processor's seconds that reading each took."""
    settings = EvaluateConfig.model_validate(
        {key: decision[key] for key in (*READING, "segmentation_threshold", "minimum_lesion_mm3")}
    )
    folds = len(read_json(run.results / "train" / "splits.json")["folds"])
    models = load_folds(run.results / "train" / run.folder, folds)
    found, seconds = {}, []
    for name in tqdm(names, desc=f"read {run.name}", disable=None):
        crop, lungs = (read_image(run.results / "crop" / name / f"{image}.nii.gz") for image in ("nct", "lung"))
        began = time.process_time()
        probability = read_crop(models, crop, settings, lungs).probability
        seconds.append(time.process_time() - began)
        clots = read_image(run.results / "evaluate" / run.folder / "reference" / f"{name}.nii.gz")
        native = on_native(probability, crop, clots)
        labels = mark_lesions(native, clots, settings.segmentation_threshold, settings.minimum_lesion_mm3)
        found[name] = match_lesions(labels, sitk.GetArrayFromImage(clots), clots.GetSpacing(), native)
    return found, seconds


def _run_row(run: Run, decision: Mapping[str, Any], seconds: list[float]) -> dict[str, Any]:
    folder = run.results / "train" / run.folder / "fold-0"
    last = pd.read_csv(folder / "history.csv").iloc[-1]
    written = (run.results / "evaluate" / run.folder / "metrics.json").stat().st_mtime
    return {
        "difficulty": run.difficulty,
        "run": run.name,
        "variant": run.variant,
        "seed": run.seed,
        "trained_on": run.difficulty,
        "steps": int(last["step"]),
        "parameters": read_plan(folder).parameters,
        "training_minutes": round(float(last["seconds"]) / 60, 1),
        "processor_minutes": np.nan,  # the workflow keeps no record of it
        "reading_seconds": round(float(np.median(seconds)), 3),
        "reading_seconds_highest": round(max(seconds), 3),
        "specificity_target": decision["threshold"]["target"],
        "precision": "bfloat16" if decision["bfloat16"] else "float32",
        "commit": (read_json(run.results / "track.json").get("commit") or "")[:12],
        "date": date.fromtimestamp(written).isoformat(),
    }


def _patient_rows(run: Run, scored: pd.DataFrame) -> pd.DataFrame:
    named = pd.DataFrame(
        {
            "difficulty": run.difficulty,
            "run": run.name,
            "variant": run.variant,
            "seed": run.seed,
            "cohort": scored["split"],
            "patient_id": scored["patient_id"].map(phantom_name),
            "label": scored["label"],
        }
    )
    noise = scored["patient_id"].map(lambda name: run.facts[name]["noise_hu"]["nct"])
    return named.join(scored[COLUMNS[PATIENTS]].astype({"decision": int})).assign(noise_hu=noise)


def _clot_rows(run: Run, found: Mapping[str, Lesions], limit: float) -> list[dict[str, Any]]:
    """Rows of the clots of PE patients; a clot is as sure as the surest mark that shares a voxel with it."""
    rows = []
    for name, lesions in found.items():
        facts = {clot["id"]: clot for clot in run.facts[name]["clots"]}
        for clot, touched in zip(lesions.clot_ids.tolist(), (lesions.overlap > 0).T, strict=True):
            surest = float(lesions.confidence[touched].max()) if touched.any() else np.nan
            rows.append(
                {
                    "difficulty": run.difficulty,
                    "run": run.name,
                    "patient_id": phantom_name(name),
                    "clot_id": clot,
                    "ml": facts[clot]["ml"]["nct"],
                    "contrast_hu": facts[clot]["nct_hu_over_blood"],
                    "found": int(surest > limit),
                    "confidence": surest,
                }
            )
    return rows
