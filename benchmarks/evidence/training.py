"""One training of the benchmark, by the method of its variant, on one thread."""

import logging
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.evidence.cohorts import run_folder, training_labels
from benchmarks.evidence.methods import Material, method_of
from benchmarks.evidence.plan import PROJECT, TRUTH, Plan, Run, data_root, training_config
from cpmn.files import sha256_of_files, sha256_of_json, write_json
from cpmn.job.dependencies import source_files
from cpmn.job.identity import code_version
from cpmn.job.status import excluded_patients, failed_registrations
from cpmn.model.plan import WEIGHTS_FILE
from cpmn.train.resume import STAGE
from cpmn.train.stage import HISTORY_FILE

THREADS = 1  # two trainings then run side by side on two cores, with less waiting than one on both


def model_name(plan: Plan, run: Run) -> str:
    """Name of a run's model, by its settings, so that a trial that became the recipe need not be repeated.

    Settings at their defaults are left out, so that a new option asks for no training again.
    """
    settings = training_config(plan, run).model_dump(mode="json", exclude_defaults=True)
    return f"{run.source}/{run.variant}-s{run.seed}-{sha256_of_json(settings)[:8]}"


def model_folder(plan: Plan, run: Run) -> Path:
    """Where the model of a run lies."""
    return data_root() / "models" / model_name(plan, run) / "fold-0"


def is_trained(plan: Plan, run: Run) -> bool:
    """Whether the model is there, and the record of its training, which is written last."""
    folder = model_folder(plan, run)
    return (folder / WEIGHTS_FILE).is_file() and (folder / "training.json").is_file()


def train_run(plan: Plan, run: Run) -> None:
    """Train one run; an interrupted one goes on. Writes `training.json` beside the model."""
    from cpmn.model.devices import has_bfloat16  # loads torch

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    results = run_folder(run.source, run.variant == TRUTH) / "results"
    folder = model_folder(plan, run)
    labels = training_labels(plan, run.source)
    names = list(labels)
    excluded = excluded_patients(names, results)
    qualities = {name: results / "register" / name / "quality.json" for name in names}
    excluded |= failed_registrations({name: path for name, path in qualities.items() if path.is_file()})
    config = training_config(plan, run)
    began = time.process_time()
    material = Material(
        variant=run.variant,
        parts={"train": names[: plan.training_split], "validation": names[plan.training_split :]},
        crops=results / "crop",
        excluded=excluded,
        labels=labels,
        paired={name for name, path in qualities.items() if path.is_file()} - set(excluded),
        config=config,
        threads=THREADS,
    )
    method_of(run.variant).train(material, folder)
    facts = {"excluded": excluded, "threads": THREADS, "commit": code_version(PROJECT)}
    facts["source_hash"] = sha256_of_files(source_files(STAGE))  # exact, also where `commit` has changes
    facts["bfloat16"] = config.cpu_bfloat16 and has_bfloat16()
    facts["crops"] = sha256_of_files(material.crops.glob("*/*.nii.gz"))  # tells runs on other patients apart
    facts |= {"processor_seconds_of_last_process": round(time.process_time() - began, 1)}
    write_json(folder / "training.json", facts | timing(folder))


def timing(folder: Path) -> dict[str, Any]:
    """Steps, seconds (wall clock, interruptions left out) and the last validation, from `history.csv`."""
    history = pd.read_csv(folder / HISTORY_FILE)
    last = history.iloc[-1]
    gaps = history["seconds"].diff().iloc[1:-1]  # the first epoch warms up, the last one validates
    steps = history["step"].diff().iloc[1:-1]
    return {
        "steps": int(last["step"]),
        "seconds": float(last["seconds"]),
        "seconds_per_step": round(float((gaps / steps).median()), 4) if len(gaps) else None,
        "validation": {name: last[f"validation_{name}"] for name in ("dice", "auc", "loss")},  # NaN for the peers
    }
