"""A plan of one run and its patients' records, without any network."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.evidence import cohorts, scoring, tracking, training
from benchmarks.evidence import plan as plans
from benchmarks.evidence.plan import Plan, cohort_patients
from cpmn.files import write_json
from cpmn.train.engine import COLUMNS
from cpmn.train.stage import HISTORY_FILE, write_history

VALUES = {
    "training_patients": 4,
    "training_split": 2,
    "seeds": {role: {"learnable": n} for n, role in enumerate(("train", "calibration", "development", "test"))},
    "sizes": {
        "learnable": {
            "calibration": {"pe": 12, "normal": 20},
            "development": {"pe": 2, "normal": 3},
            "test": {"pe": 4, "normal": 5},
        }
    },
    "target_specificity": {"learnable": 0.95},
    "inference": {"overlap": 0.25, "bfloat16": False},
    "frozen": ["learnable"],
    "recipe": {"steps": 10},
    "runs": [
        {"difficulty": "learnable", "variant": "nct_only"},
        {"difficulty": "learnable", "variant": "cpmn"},
    ],
}

LAST = {
    False: {"step": 10, "train_total": 0.5, "train_segmentation": 0.4},
    True: {"step": 10, "train_segmentation": 0.4, "train_segmentation_ctpa": 0.3, "train_mutual": 0.2}
    | {"train_alignment": 0.06, "train_affinity": 0.001},
}
"""Last row of the history, by whether there are two pathways."""


def make_plan(**changes) -> Plan:
    return Plan.model_validate(VALUES | changes)


def record(name: str, label: int, score: float, dice: float) -> dict:
    """What `read_patient` keeps: one clot of ten voxels in PE patients, found where Dice is above zero."""
    found = int(label and dice > 0)
    lesions = {
        "clot_ids": [1] * label,
        "clot_voxels": [10] * label,
        "component_voxels": [10] * found,
        "confidence": [0.9] * found,
        "points_mm": [[0.0, 0.0, 0.0]] * found,
        "overlap": [[5]] * found,
        "distance_mm": [[0.0]] * found,
    }
    surface = {"nsd": dice, "assd_mm": 1.0 if found else None, "hd95_mm": 1.0 if found else None} if label else {}
    case = {
        "patient_id": name,
        "label": label,
        "predicted_ml": 1.0 * found,
        "reference": "nct_truth",
        "reference_ml": 1.0 * label,
        "shared_ml": 0.5 * found,
        "dice": dice if label else None,
        "surface": surface,
        "lesions": lesions,
    }
    return {"features": {"classification": score, "lesion": score}, "seconds": 1.0, "case": case}


@pytest.fixture
def made(tmp_path, monkeypatch) -> Path:
    """Data folder in which nothing is done, and results of its own."""
    monkeypatch.setenv("CPMN_EVIDENCE", str(tmp_path / "data"))
    for module in (plans, scoring, tracking):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(scoring, "record", lambda *_: None)  # a new MLflow database takes seconds
    return tmp_path


def finish(plan: Plan, run, advantage: float = 3.0) -> None:
    """Pretend that the run was trained and has read its cohorts: PE patients score `advantage` higher."""
    folder = training.model_folder(plan, run)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(run.name.encode())
    config = training.training_config(plan, run).model_dump(mode="json")
    write_json(folder / "plan.json", {"config": config, "parameters": 7})
    checks = {"dice": 0.4, "auc": 0.8, "loss": 1.0}
    facts = {
        "steps": 10,
        "seconds": 120.0,
        "seconds_per_step": 0.2,
        "processor_seconds_of_last_process": 60.0,
        "validation": checks,
        "commit": "abc",
    }
    write_json(folder / "training.json", facts)
    two = "ctpa" in training.training_config(plan, run).pathways
    write_history([dict.fromkeys(COLUMNS), dict.fromkeys(COLUMNS) | LAST[two]], folder / HISTORY_FILE)
    random = np.random.default_rng(1)
    for role in run.scored:
        for name, label in cohort_patients(plan, run.difficulty, role).items():
            noise = float(random.normal(0.0, 0.5))
            value = advantage * label + noise
            path = scoring.score_folder(plan, run, role) / f"{name}.json"
            write_json(path, record(name, label, value, 0.5 * label))
            clot = {"id": 1, "ml": {"nct": 0.2}, "nct_hu_over_blood": -20.0}
            facts = {"label": label, "clots": [clot] * label, "noise_hu": {"nct": 12.0 + noise}}
            write_json(cohorts.patients_folder(plan, run.difficulty, role) / name / "facts.json", facts)
