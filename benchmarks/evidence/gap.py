"""How well a network reads the patients that it was trained on: if no better than others, more patients would not help.

Labels are those that it learnt from, so that its training and validation patients are judged alike.
"""

from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
import torch
from tqdm import tqdm

from benchmarks.evidence.cohorts import run_folder, training_names
from benchmarks.evidence.markdown import estimate
from benchmarks.evidence.methods import method_of
from benchmarks.evidence.plan import RESULTS, TRUTH, Plan, Run, phantom_config
from benchmarks.evidence.table import GAP_FILE
from benchmarks.evidence.training import is_trained, model_folder
from cpmn import metrics
from cpmn.config.crop import CropConfig
from cpmn.decision import Decision, patient_features, patient_score
from cpmn.files import read_json, write_text
from cpmn.images import read_image, voxel_ml
from cpmn.phantom.rows import patient_index, phantom_label
from cpmn.voxels import dice


def measure_gaps(plan: Plan) -> pd.DataFrame:
    """Rows (run, part, patients, AUC, Dice) of the runs that the plan names under `gaps`, stored as `gap.csv`.

    Rows that are there are kept, so that neither model nor patients need be.
    """
    path = RESULTS / GAP_FILE
    rows: list[dict[str, Any]] = pd.read_csv(path, dtype=str).to_dict("records") if path.is_file() else []
    there = {row["run"] for row in rows}
    for run in (run for run in plan.runs if run.name in plan.gaps and run.name not in there):
        if is_trained(plan, run) and (RESULTS / run.name / "run.json").is_file():
            rows += _rows(plan, run)
    table = pd.DataFrame(rows)
    write_text(path, table.to_csv(index=False))
    return table


def _rows(plan: Plan, run: Run) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    read = method_of(run.variant).load(model_folder(plan, run), plan.inference)
    facts = read_json(RESULTS / run.name / "run.json")
    decision = Decision.model_validate(facts["decision"] | {"crop": CropConfig()})
    crops, names = run_folder(run.source, run.variant == TRUTH) / "results" / "crop", training_names(plan)
    seed, threshold = phantom_config(plan, run.source, "train").seed, plan.inference.segmentation_threshold
    parts: dict[str, list[tuple[int, float, float]]] = {"training": [], "validation": []}
    for index, name in enumerate(tqdm(names, desc=run.name, unit="patient", disable=None)):
        if name in facts["training"]["excluded"]:
            continue
        crop, label = read_image(crops / name / "nct.nii.gz"), phantom_label(seed, patient_index(name))
        found = read(crop)
        features = patient_features(found.class_probability, found.probability, voxel_ml(crop), threshold)
        clot = sitk.GetArrayFromImage(read_image(crops / name / "embolus.nii.gz")) != 0
        agreement = dice(found.probability >= threshold, clot) if label else np.nan
        part = "training" if index < plan.training_split else "validation"
        parts[part].append((label, patient_score({0: features}, decision), agreement))
    return [{"run": run.name, "part": part} | _figures(read_patients) for part, read_patients in parts.items()]


def _figures(read_patients: list[tuple[int, float, float]]) -> dict[str, str]:
    labels, scores, agreements = zip(*read_patients, strict=True)
    positive = [value for value, label in zip(agreements, labels, strict=True) if label]
    return {
        "pe_and_normals": f"{sum(labels)} + {len(labels) - sum(labels)}",
        "auc": estimate(metrics.auc(labels, scores)),
        "dice": estimate(metrics.mean(positive)),
    }
