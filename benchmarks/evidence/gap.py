"""How well a network reads the patients that it was trained on: if no better than others, more patients would not help.

Labels are those that it learnt from, so that its training and validation patients are judged alike.
"""

from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.evidence.cohorts import run_folder, training_labels
from benchmarks.evidence.markdown import estimate
from benchmarks.evidence.methods import method_of
from benchmarks.evidence.plan import RESULTS, TRUTH, Plan, Run
from benchmarks.evidence.scoring import Record, case_of, is_stored, read_patient, score_of
from benchmarks.evidence.table import GAP_FILE
from benchmarks.evidence.training import is_trained, model_folder
from cpmn.config.crop import CropConfig
from cpmn.config.evaluate import EvaluateConfig
from cpmn.files import read_json, write_text
from cpmn.scoring.agreement import summarise
from cpmn.scoring.decision import Decision


def measure_gaps(plan: Plan) -> pd.DataFrame:
    """Rows (run, part, patients, AUC, Dice) of the runs that the plan names under `gaps`, stored as `gap.csv`.

    Rows that are there are kept, so that neither model nor patients need be.
    """
    path = RESULTS / GAP_FILE
    rows: list[dict[str, Any]] = pd.read_csv(path, dtype=str).to_dict("records") if path.is_file() else []
    there = {row["run"] for row in rows}
    for run in (run for run in plan.runs if run.name in plan.gaps and run.name not in there):
        if is_trained(plan, run) and is_stored(plan, run):
            rows += _rows(plan, run)
    table = pd.DataFrame(rows)
    write_text(path, table.to_csv(index=False))
    return table


def _rows(plan: Plan, run: Run) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    read = method_of(run.variant).load(model_folder(plan, run), plan.inference)
    facts = read_json(RESULTS / run.name / "run.json")
    decision = Decision.model_validate(facts["decision"] | {"crop": CropConfig()})
    crops, labels = run_folder(run.source, run.variant == TRUTH) / "results" / "crop", training_labels(plan, run.source)
    threshold = plan.inference.segmentation_threshold
    records = {
        name: read_patient(read, crops / name / "nct.nii.gz", crops / name / "embolus.nii.gz", name, label, threshold)
        for name, label in tqdm(labels.items(), desc=run.name, unit="patient", disable=None)
        if name not in facts["training"]["excluded"]
    }
    names = list(labels)
    parts = {"training": names[: plan.training_split], "validation": names[plan.training_split :]}
    return [
        {"run": run.name, "part": part} | _figures({name: records[name] for name in own if name in records}, decision)
        for part, own in parts.items()
    ]


def _figures(records: dict[str, Record], decision: Decision) -> dict[str, str]:
    cases = [case_of(record) for record in records.values()]
    scores = {name: score_of(record, decision) for name, record in records.items()}
    figures, positive = summarise(cases, scores, EvaluateConfig.model_validate({})), sum(case.label for case in cases)
    return {
        "pe_and_normals": f"{positive} + {len(cases) - positive}",
        "auc": estimate(figures["patient"]["auc"]),
        "dice": estimate(figures["voxel"]["dice"]),
    }
