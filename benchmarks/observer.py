"""The limit on the phantom: the reference observer and the naive floor, for each difficulty and noise level.

Resumable: each patient's scores are kept under `results/benchmarks/observer` and used again while the settings and
the code they come from are the same.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.clotgroups import clot_groups
from benchmarks.kept import kept
from cpmn.cohort.phantom import patient_id
from cpmn.config.phantom import PhantomConfig
from cpmn.files import sha256_of_files, sha256_of_json
from cpmn.job.dependencies import source_files
from cpmn.observer.priors import DIFFICULTIES
from cpmn.observer.study import study_patient
from cpmn.scoring import metrics

SEED = 99  # none of the seeds that settings were chosen on
PATIENTS = int(os.environ.get("CPMN_OBSERVER_PATIENTS", "100"))  # one of each pair has PE
SETS = 200  # imagined sets of emboli per patient
NOISES = (1.0, 2.0, 4.0)  # times the noise that the phantom is scanned with
FALSE_SITES = 1.0  # wrong sites per patient without PE, at which detection of clots is counted
CACHE = Path("results/benchmarks/observer")

Row = dict[str, Any]


def measure() -> list[Row]:
    """Rows (difficulty, noise factor, observer, metric, group, value, low, high, n), with the numbers of patients."""
    config = PhantomConfig(seed=SEED)
    settings = [config.model_dump(mode="json", exclude={"patients", "difficulty"}), NOISES, SETS]
    key = sha256_of_json([settings, sha256_of_files(source_files("cpmn.observer.study"))])
    names = [patient_id(index) for index in range(PATIENTS)]
    records = [
        kept(CACHE / f"{name}.json", key, lambda name=name: study_patient(config, name, NOISES, SETS))
        for name in tqdm(names, unit="patient", disable=None)
    ]
    return [
        {"difficulty": difficulty, "noise_factor": noise, **row}
        for difficulty in DIFFICULTIES
        for noise in NOISES
        for row in _rows(records, difficulty, noise)
    ]


def _rows(records: list[dict[str, Any]], difficulty: str, noise: float) -> list[Row]:
    labels = [record["label"] for record in records]
    read = [
        next(r for r in record["readings"] if (r["difficulty"], r["noise_factor"]) == (difficulty, noise))
        for record in records
    ]
    counts = {"pe": sum(labels), "normal": len(labels) - sum(labels)}
    scores = {
        ("reference", "auc"): "score",
        ("reference, half of the candidates", "auc"): "score_of_half",
        ("blood taken for even", "auc"): "score_of_even",
        ("bright artery volume", "auc"): "bright_artery_ml",
        ("brightest artery", "auc"): "brightest_artery_hu",
        ("brightest artery, without noise", "auc"): "brightest_artery_hu_without_noise",
        ("mean artery HU", "auc"): "mean_artery_hu",
    }
    rows = [
        {
            "observer": observer,
            "metric": metric,
            "group": "all",
            **metrics.auc(labels, [r[key] for r in read]),
            **counts,
        }
        for (observer, metric), key in scores.items()
        if key in read[0]
    ]
    return rows + [row | counts for row in _detection(records, read)]


def _detection(records: list[dict[str, Any]], read: list[dict[str, Any]]) -> list[Row]:
    """Share of clots whose own site passes the threshold, and the d' of a clot known exactly, by group of clots."""
    normals = [r for record, r in zip(records, read, strict=True) if not record["label"]]
    values = np.sort(np.concatenate([list(r["sites"].values()) for r in normals]))[::-1]
    threshold = values[round(FALSE_SITES * len(normals))]
    clots = [
        (
            np.array([c["ml"] for c in record["clots"]]),
            np.array(r["contrast_hu"]),
            _numbers(r["clot_scores"]),
            r["d_prime"],
        )
        for record, r in zip(records, read, strict=True)
        if record["label"]
    ]
    rows = []
    for group, chosen in clot_groups().items():
        masks = [chosen(ml, hu) for ml, hu, _, _ in clots]
        found = [int((s[m] > threshold).sum()) for (_, _, s, _), m in zip(clots, masks, strict=True)]
        share = metrics.ratio(found, [int(m.sum()) for m in masks])
        rows.append({"observer": "reference", "metric": "clots found", "group": group, **share})
        known = np.concatenate([np.array(d)[m] for (_, _, _, d), m in zip(clots, masks, strict=True)])
        middle = float(np.median(known)) if len(known) else None
        rows.append(
            {
                "observer": "known exactly",
                "metric": "median d'",
                "group": group,
                **metrics.estimate(middle, n=len(known)),
            }
        )
    return rows


def _numbers(values: list[float | None]) -> np.ndarray:
    """Scores as numbers; a clot that starts where no candidate did has none and is not found."""
    return np.array([-np.inf if value is None else value for value in values])
