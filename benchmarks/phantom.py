"""Honesty of the phantom: what separates PE from normal patients without looking for clots.

Simple figures of each patient's NCT should not tell the label: AUC below the limit in either direction. For each
difficulty the same patients are scanned; the anatomy and everything but the clots' contrast is drawn once.
"""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cpmn.config.phantom import DIFFICULTIES, PhantomConfig
from cpmn.images import write_image
from cpmn.metrics import auc
from cpmn.phantom.anatomy import build_anatomy, with_emboli
from cpmn.phantom.image import clean_image
from cpmn.phantom.materials import FIRST_CLOT, Tissue
from cpmn.phantom.rows import patient_id
from cpmn.phantom.scan import draw_phase, grid_image, phase_noise
from cpmn.phantom.streams import random_stream

SEED = 101  # none of the seeds that settings were chosen on
PATIENTS = int(os.environ.get("CPMN_PHANTOM_PATIENTS", "200"))
SPACING = (4.5, 4.5, 5.0)  # mm; coarse, because only averages over organs are asked for
LIMIT = 0.6  # of max(AUC, 1 - AUC)
LUNG = (Tissue.LUNG, Tissue.FISSURE, Tissue.NODULE)


def measure() -> list[dict[str, Any]]:
    """One row per difficulty and figure, with the AUC, its 95 % interval (DeLong) and whether it is below the limit."""
    config = PhantomConfig(patients=PATIENTS, seed=SEED, nct_spacing=SPACING, subsample_mm=3.0)
    labels: list[int] = []
    figures: dict[str, list[dict[str, float]]] = {difficulty: [] for difficulty in DIFFICULTIES}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for label, found in pool.map(partial(_patient, config), map(patient_id, range(PATIENTS)), chunksize=5):
            labels.append(label)
            for difficulty, values in found.items():
                figures[difficulty].append(values)
    twins = figures["invisible"]  # without contrast a patient's NCT is its twin's, voxel by voxel (tested)
    return [row for difficulty in DIFFICULTIES for row in _rows(difficulty, labels, figures[difficulty], twins)]


def _patient(config: PhantomConfig, name: str) -> tuple[int, dict[str, dict[str, float]]]:
    """Label, and by difficulty the figures of a patient's NCT."""
    anatomy = build_anatomy(config, name)
    canvas = draw_phase(config, anatomy, "nct")
    noise = phase_noise(config, canvas, anatomy, "nct")
    drawn = noise.draw(canvas.grid.size, random_stream(config.seed, name, "nct noise"))
    vessel = np.isin(canvas.labels, Tissue.ARTERY) | (canvas.labels > FIRST_CLOT)
    vessel = vessel.mean(axis=-1) > 0.5
    air = np.isin(canvas.labels, [int(tissue) for tissue in LUNG]).mean(axis=-1)
    found = {}
    for difficulty in DIFFICULTIES:
        changed = config.model_copy(update={"difficulty": difficulty})
        ill = with_emboli(changed, replace(anatomy, clots=())) if anatomy.label else anatomy
        hu = np.rint(clean_image(changed, canvas, ill, "nct") + drawn).clip(-1024, 3071).astype(np.int16)
        found[difficulty] = {
            "vessel HU": float(hu[vessel].mean()),
            "vessel HU, 95th percentile": float(np.percentile(hu[vessel], 95)),
            "vessel SD": float(hu[vessel].std()),
            "vessel volume": float(vessel.sum()),
            "lung volume": float(air.sum()),
            "lung HU": float(hu[air > 0.99].mean()),
            "noise level": float(noise.sd.mean()),
            "file size": _file_size(hu, canvas.grid),
            "slices": float(canvas.grid.size[2]),
            "body size": float(np.prod(anatomy.scale)),
            "heart size": anatomy.habitus.heart,
            "findings": float(sum(anatomy.findings.counts().values())),
        }
    return anatomy.label, found


def _file_size(hu: np.ndarray, grid: Any) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nct.nii.gz"
        write_image(grid_image(hu, grid), path)
        return float(path.stat().st_size)


Figures = list[dict[str, float]]


def _rows(difficulty: str, labels: list[int], figures: Figures, twins: Figures) -> Iterator[dict[str, Any]]:
    truth = np.array(labels)
    for name in figures[0]:
        scores, without = (np.array([values[name] for values in them]) for them in (figures, twins))
        against = _auc(np.repeat((1, 0), truth.sum()), np.concatenate([scores[truth == 1], without[truth == 1]]))
        yield _row(difficulty, name, truth, scores) | {"auc_against_own_twins": against[0]}
    table = np.array([[values[name] for name in figures[0] if name != "slices"] for values in figures])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    together = np.asarray(cross_val_predict(model, table, truth, cv=10, method="predict_proba"))[:, 1]
    yield _row(difficulty, "all together (logistic regression, 10-fold)", truth, together)


def _row(difficulty: str, name: str, labels: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    value, low, high = _auc(labels, scores)
    return {
        "difficulty": difficulty,
        "figure": name,
        "n_pe": int(labels.sum()),
        "n_normal": int((1 - labels).sum()),
        "auc": value,
        "low": low,
        "high": high,
        "limit": LIMIT,
        "below_limit": max(value, 1 - value) < LIMIT,
    }


def _auc(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float, float]:
    """AUC with its interval."""
    found = auc(labels.tolist(), scores.tolist())
    return tuple(round(float(found[key] or 0.0), 3) for key in ("value", "low", "high"))  # type: ignore[return-value]
