"""Reading the patients of a cohort with a run's model, and the run's stored results.

Each patient's record is kept, so that a larger cohort only adds; the decision is fitted on the calibration cohort.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.evidence.clots import COLUMNS, clot_rows, confidence_limit
from benchmarks.evidence.cohorts import cohort_name, patients_folder
from benchmarks.evidence.methods import Reader, method_of
from benchmarks.evidence.plan import PROJECT, RESULTS, Plan, Role, Run, cohort_patients, data_root, training_config
from benchmarks.evidence.tracking import record
from benchmarks.evidence.training import model_folder, model_name
from cpmn.cohort.roles import Role as PatientRole
from cpmn.cohort.sheet import Patient
from cpmn.config.evaluate import EvaluateConfig
from cpmn.config.train import TrainConfig
from cpmn.evaluate.tables import PATIENT_COLUMNS, patient_row
from cpmn.files import read_json, sha256_of_files, sha256_of_json, write_json, write_table
from cpmn.job.identity import code_version
from cpmn.model.ensemble import on_native
from cpmn.model.plan import PLAN_FILE, WEIGHTS_FILE
from cpmn.scoring.agreement import Case, Score, mark_lesions, measure_case, summarise
from cpmn.scoring.decision import Decision, Unseen, fit_decision, is_positive, patient_features, patient_score
from cpmn.scoring.lesions import Lesions
from cpmn.train.stage import HISTORY_FILE
from cpmn.volume.images import read_image, voxel_ml

FEATURE_COLUMNS = ("classification", "lesion")
NOISE_COLUMN = "noise_hu"  # standard deviation of the NCT's noise, mean over the slices
Record = dict[str, Any]


def score_folder(plan: Plan, run: Run, role: Role) -> Path:
    """Where the records lie: another model or another way of reading gets another folder."""
    folder = model_folder(plan, run)
    model = sha256_of_files([folder / WEIGHTS_FILE, folder / PLAN_FILE])
    key = sha256_of_json([model, plan.inference.model_dump(mode="json")])
    return data_root() / "scores" / model_name(plan, run) / key[:12] / cohort_name(plan, run.difficulty, role)


def missing_scores(plan: Plan, run: Run, role: Role) -> list[str]:
    """Patients of the cohort that the run's model has not read."""
    folder = score_folder(plan, run, role)
    return [name for name in cohort_patients(plan, run.difficulty, role) if not (folder / f"{name}.json").is_file()]


def score_run(plan: Plan, run: Run, role: Role) -> None:
    """Read the patients of the cohort that the run's model has not read."""
    torch.set_num_threads(1)
    read, folder = method_of(run.variant).load(model_folder(plan, run), plan.inference), score_folder(plan, run, role)
    labels, threshold = cohort_patients(plan, run.difficulty, role), plan.inference.segmentation_threshold
    for name in missing_scores(plan, run, role):
        source = patients_folder(plan, run.difficulty, role) / name
        nct, truth = source / "nct.nii", source / "truth.nii.gz"
        write_json(folder / f"{name}.json", read_patient(read, nct, truth, name, labels[name], threshold))
        print(name, flush=True)


def read_patient(read: Reader, nct: Path, clots: Path, name: str, label: int, threshold: float) -> Record:
    """Features and agreement with the `clots`, by the functions that `cpmn predict` and `evaluate` use."""
    config = EvaluateConfig.model_validate({})
    crop, truth = read_image(nct), read_image(clots)
    began = time.process_time()
    found = read(crop)
    seconds = time.process_time() - began
    features = patient_features(found.class_probability, found.probability, voxel_ml(crop), threshold)
    probability = on_native(found.probability, crop, truth)
    labels = mark_lesions(probability, truth, threshold, config.minimum_lesion_mm3)
    patient = Patient(patient_id=name, nct=nct, label=label)  # pyright: ignore[reportCallIssue] (optional fields)
    case = measure_case(
        patient, labels, truth, "nct_truth", truth, probability=probability, tolerance_mm=config.surface_tolerance_mm
    )
    return {"features": features, "seconds": round(seconds, 2), "case": asdict(case)}


def case_of(record: Record) -> Case:
    """The `Case` of a stored record; `null` is NaN again and lists are arrays."""
    stored = dict(record["case"])
    values: dict[str, Any] = {key: np.nan if value is None else value for key, value in stored.items()}
    values["surface"] = {key: np.nan if value is None else value for key, value in stored["surface"].items()}
    found = stored["lesions"]
    marks, clots = len(found["component_voxels"]), len(found["clot_ids"])
    shapes = {"points_mm": (marks, 3), "overlap": (marks, clots), "distance_mm": (marks, clots)}
    numbers = {"confidence": float, "points_mm": float, "distance_mm": float}
    arrays = {f.name: np.array(found[f.name], dtype=numbers.get(f.name, int)) for f in fields(Lesions)}
    values["lesions"] = Lesions(**{n: a.reshape(shapes[n]) if n in shapes else a for n, a in arrays.items()})
    return Case(**values)


def read_records(plan: Plan, run: Run, role: Role) -> dict[str, Record]:
    """Records by patient, in the order of the cohort, of those that are there."""
    folder = score_folder(plan, run, role)
    paths = {name: folder / f"{name}.json" for name in cohort_patients(plan, run.difficulty, role)}
    return {name: read_json(path) for name, path in paths.items() if path.is_file()}


def store_results(plan: Plan, run: Run) -> None:
    """Write `patients.csv`, `clots.csv`, `history.csv` and `run.json` of a run under `benchmarks/results/evidence`."""
    code = code_version(PROJECT)  # before the tables change, which are under version control too
    records: dict[Role, dict[str, Record]] = {role: read_records(plan, run, role) for role in run.scored}
    fitted_on = "calibration" if "calibration" in records else run.scored[0]
    decision = fit(plan, run, records[fitted_on], fitted_on)
    config = EvaluateConfig.model_validate({})
    rows, clots, figures = [], [], {}
    for role, found in records.items():
        cases = {name: case_of(record) for name, record in found.items()}
        scores = {name: score_of(record, decision) for name, record in found.items()}
        made = {name: read_json(patients_folder(plan, run.difficulty, role) / name / "facts.json") for name in found}
        rows += [
            _row(role, cases[name], scores[name], found[name], decision) | {NOISE_COLUMN: made[name]["noise_hu"]["nct"]}
            for name in found
        ]
        figures[role] = summarise(list(cases.values()), scores, config)
        clots += _clots(role, cases, made)
    folder = RESULTS / run.name
    write_table(folder / "patients.csv", [*PATIENT_COLUMNS, *FEATURE_COLUMNS, NOISE_COLUMN], rows)
    write_table(folder / "clots.csv", COLUMNS, clots)
    shutil.copyfile(model_folder(plan, run) / HISTORY_FILE, folder / HISTORY_FILE)
    seconds = [record["seconds"] for found in records.values() for record in found.values()]
    facts = {
        "run": run.model_dump(mode="json"),
        "cohort_seeds": _cohort_seeds(plan, run),
        "training": read_json(model_folder(plan, run) / "training.json"),
        "settings": read_json(model_folder(plan, run) / PLAN_FILE)["config"],
        "parameters": read_json(model_folder(plan, run) / PLAN_FILE)["parameters"],
        "inference": plan.inference.model_dump(mode="json"),
        "code": code,
        "inference_seconds": {"median": float(np.median(seconds)), "highest": max(seconds)},
        "decision": decision.model_dump(mode="json", exclude={"crop"}),
        "figures": figures,
    }
    write_json(folder / "run.json", facts)
    record(plan, run, facts)


def fit(plan: Plan, run: Run, records: Mapping[str, Record], fitted_on: str) -> Decision:
    """Standardisation, combination and threshold from the patients of one cohort, none of which was trained on.

    Trials, which see no calibration cohort, are fitted on what they are scored on: their figures serve choices alone.
    """
    seen = [Unseen(name, record["case"]["label"], {0: record["features"]}) for name, record in records.items()]
    reading = plan.inference.model_dump(include={"overlap", "highest_hu", "bfloat16", "segmentation_threshold"})
    config = EvaluateConfig.model_validate(reading | {"target_specificity": plan.target_specificity[run.difficulty]})
    decision = fit_decision(seen, run.variant, 1, config, part=fitted_on)
    rule = decision.threshold.rule.replace(f"{fitted_on} normals", f"normals of the {fitted_on} cohort")
    threshold = decision.threshold.model_copy(update={"fitted_on": f"{fitted_on} cohort", "rule": rule})
    return decision.model_copy(update={"threshold": threshold})


def is_stored(plan: Plan, run: Run) -> bool:
    """Whether the stored results are of the plan's settings, reading, target and numbers of patients.

    They hold wherever they were made, so that neither data nor model need be there; `code` in `run.json` says what made
    them. To have a run made again, delete its `run.json`.
    """
    path = RESULTS / run.name / "run.json"
    if not path.is_file():
        return False
    stored = read_json(path)
    counts = {role: figures["patient"]["auc"]["n"] for role, figures in stored["figures"].items()}
    wanted = {role: len(cohort_patients(plan, run.difficulty, role)) for role in run.scored}
    same_settings = TrainConfig.model_validate(stored["settings"]) == training_config(plan, run)
    same_reading = stored["inference"] == plan.inference.model_dump(mode="json")
    same_target = stored["decision"]["threshold"]["target"] == plan.target_specificity[run.difficulty]
    same_cohorts = stored.get("cohort_seeds") in (None, _cohort_seeds(plan, run))  # None: stored before they were
    return counts == wanted and same_settings and same_reading and same_target and same_cohorts


def _cohort_seeds(plan: Plan, run: Run) -> dict[str, int]:
    """Phantom seeds of the cohorts that a run is scored on."""
    return {role: plan.seeds[role][run.difficulty] for role in run.scored}


def score_of(record: Record, decision: Decision) -> Score:
    """Score and decision of a stored record."""
    value = patient_score({0: record["features"]}, decision)
    return Score(value, is_positive(value, decision), decision.combination.logistic)


def _clots(role: Role, cases: Mapping[str, Case], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of all clots of a cohort; its patients without PE say which marks count."""
    limit = confidence_limit(list(cases.values()))
    pe = {name: case for name, case in cases.items() if case.label}
    return [row for name, case in pe.items() for row in clot_rows(role, case, facts[name]["clots"], limit)]


def _row(role: Role, case: Case, score: Score, record: Record, decision: Decision) -> dict[str, Any]:
    patient = Patient(patient_id=case.patient_id, nct=Path(), label=case.label)  # type: ignore[call-arg, arg-type]
    row = patient_row(PatientRole(patient, role, None), case, score, decision.threshold.value)
    return row | record["features"]
