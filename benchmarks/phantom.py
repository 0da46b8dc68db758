"""Honesty of the phantom: what separates PE from normal patients without looking for clots.

Simple figures of each patient's scans should not tell the label: AUC below the limit in either direction. The same
patients are scanned for each difficulty: an embolus-free NCT and its noise are drawn once, clots are added to it.
Resumable: figures are kept under `results/benchmarks/phantom` while settings and code are the same.
"""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from benchmarks.kept import kept
from cpmn.cohort.phantom import patient_id
from cpmn.config.phantom import DIFFICULTIES, PhantomConfig
from cpmn.files import sha256_of_files, sha256_of_json
from cpmn.job.dependencies import source_files
from cpmn.observer.naive import mean_artery_hu
from cpmn.observer.sites import templates_of
from cpmn.observer.study import clot_signal, contrasts_of
from cpmn.phantom.anatomy import Anatomy, build_anatomy
from cpmn.phantom.dicom import write_series
from cpmn.phantom.known import Known, known_of
from cpmn.phantom.materials import Tissue
from cpmn.phantom.render import Grid
from cpmn.phantom.scan import Phase, Scan, grid_image, phase_grid, with_noise
from cpmn.scoring.metrics import Estimate, auc, estimate
from cpmn.volume.images import write_image

SEED = 101  # none of the seeds that settings were chosen on
PATIENTS = int(os.environ.get("CPMN_PHANTOM_PATIENTS", "250"))
SPACING = (4.5, 4.5, 5.0)  # mm; coarse, because only averages over organs are asked for
LIMIT = 0.6  # of max(AUC, 1 - AUC)
LUNG = (Tissue.LUNG, Tissue.FISSURE, Tissue.NODULE)
CONSTANT = ("slices", "DICOM files")  # the same for everyone
CACHE = Path("results/benchmarks/phantom")


def measure() -> list[dict[str, Any]]:
    """One row per difficulty and figure, with the AUC, its 95 % interval (DeLong) and whether it is below the limit."""
    config = PhantomConfig(seed=SEED, nct_spacing=SPACING, ctpa_spacing=SPACING, subsample_mm=3.0)
    code = [*source_files("cpmn.observer.study"), *source_files("cpmn.phantom.dicom"), __file__]
    key = sha256_of_json([config.model_dump(mode="json", exclude={"patients", "difficulty"}), sha256_of_files(code)])
    names = [patient_id(index) for index in range(PATIENTS)]
    # Not os.cpu_count(): a machine that is shared may lend this process fewer.
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        made = pool.map(partial(_kept_patient, config, key), names, chunksize=5)
        records = list(tqdm(made, total=len(names), unit="patient", disable=None))
    labels = [record["label"] for record in records]
    figures = {difficulty: [record["figures"][difficulty] for record in records] for difficulty in DIFFICULTIES}
    twins = figures["invisible"]  # without contrast a patient's NCT is its twin's, voxel by voxel (tested)
    return [row for difficulty in DIFFICULTIES for row in _rows(difficulty, labels, figures[difficulty], twins)]


def _kept_patient(config: PhantomConfig, key: str, name: str) -> dict[str, Any]:
    return kept(CACHE / f"{name}.json", key, lambda: _patient(config, name))


def _patient(config: PhantomConfig, name: str) -> dict[str, Any]:
    """Label, and by difficulty the figures of a patient."""
    anatomy = build_anatomy(config, name)
    known = known_of(config, anatomy)
    vessel = known.artery > 0.5
    air = np.isin(known.canvas.labels, [int(tissue) for tissue in LUNG]).mean(axis=-1)
    templates = templates_of(anatomy.clots, known.canvas)
    same = {
        "vessel volume": float(vessel.sum()),
        "lung volume": float(air.sum()),
        "noise level": float(known.noise.sd.mean()),
        "slices": float(known.grid.size[2]),
        "body size": float(np.prod(anatomy.scale)),
        "heart size": anatomy.habitus.heart,
        "findings": float(sum(anatomy.findings.counts().values())),
        **_dicom(config, anatomy, known),
    }
    found = {}
    for difficulty in DIFFICULTIES:
        signal = clot_signal(templates, contrasts_of(config, anatomy, difficulty), known.twin.shape)
        hu = with_noise(config, name, "nct", known.twin + signal.astype(np.float32), known.noise)
        found[difficulty] = {
            "vessel HU": float(hu[vessel].mean()),
            "vessel HU, voxels inside": mean_artery_hu(hu, known.artery),
            "vessel HU, 95th percentile": float(np.percentile(hu[vessel], 95)),
            "vessel SD": float(hu[vessel].std()),
            "lung HU": float(hu[air > 0.99].mean()),
            "NIfTI size": _nifti_size(hu, known.grid),
            **same,
        }
    return {"label": anatomy.label, "figures": found}


def _nifti_size(hu: np.ndarray, grid: Grid) -> float:
    """Bytes of the compressed NCT, which follow from what is in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nct.nii.gz"
        write_image(grid_image(hu, grid), path)
        return float(path.stat().st_size)


def _dicom(config: PhantomConfig, anatomy: Anatomy, known: Known) -> dict[str, float]:
    """Number and size of the files of both phases, and what differs in their headers: where the scan lies.

    Pixels are not compressed: whatever they show has the same size, so that none are drawn here.
    """
    files: list[Path] = []
    grids: dict[Phase, Grid] = {"nct": known.grid, "ctpa": phase_grid(config, anatomy, "ctpa")}
    with tempfile.TemporaryDirectory() as folder:
        for phase, grid in grids.items():
            empty = np.zeros(grid.size[::-1], np.int16)
            scan = Scan(phase, grid, empty, empty, empty, {}, known.noise)
            write_series(scan, anatomy.patient_id, config.seed, Path(folder) / phase)
            files += (Path(folder) / phase).iterdir()
        sizes = [path.stat().st_size for path in files]
    return {
        "DICOM files": float(len(files)),
        "DICOM size": float(sum(sizes)),
        **{f"DICOM position {axis}": known.grid.origin[index] for index, axis in enumerate("xyz")},
    }


Figures = list[dict[str, float]]


def _rows(difficulty: str, labels: list[int], figures: Figures, twins: Figures) -> Iterator[dict[str, Any]]:
    truth = np.array(labels)
    for name in figures[0]:
        scores, without = (np.array([values[name] for values in them]) for them in (figures, twins))
        against = _auc_against_twins(scores[truth == 1], without[truth == 1])
        yield _row(difficulty, name, truth, scores) | {f"twins_{key}": value for key, value in against.items()}
    table = np.array([[values[name] for name in figures[0] if name not in CONSTANT] for values in figures])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    together = np.asarray(cross_val_predict(model, table, truth, cv=10, method="predict_proba"))[:, 1]
    # Read out of fold: below 0.5 it has learnt nothing, in whatever direction.
    yield _row(difficulty, "all together (logistic regression, 10-fold)", truth, together, directed=True)


def _row(difficulty: str, name: str, labels: np.ndarray, scores: np.ndarray, directed: bool = False) -> dict[str, Any]:
    found = _rounded(auc(labels.tolist(), scores.tolist()))
    opposite = 0 if directed else 1  # whether an AUC below 0.5 tells as much as one above
    return {
        "difficulty": difficulty,
        "figure": name,
        "n_pe": int(labels.sum()),
        "n_normal": int((1 - labels).sum()),
        **found,
        "limit": LIMIT,
        "below_limit": max(found["auc"], opposite * (1 - found["auc"])) < LIMIT,
        "interval_below_limit": max(found["high"], opposite * (1 - found["low"])) < LIMIT,
    }


def _auc_against_twins(scores: np.ndarray, without: np.ndarray) -> dict[str, float]:
    """AUC of patients with emboli against all *other* patients' twins without: the same people stand on both sides, so
    that chance differences of anatomy between the classes play no part.

    A U-statistic of patients, with the interval of its projection (Hoeffding 1948).
    """
    count = len(scores)
    above = (scores[:, None] > without) + 0.5 * (scores[:, None] == without)
    np.fill_diagonal(above, 0)
    shares = (above.sum(axis=0) + above.sum(axis=1)) / (count - 1)  # each patient's part, as ill and as twin
    value, half = shares.mean() / 2, 1.96 * shares.std(ddof=1) / np.sqrt(count)
    return _rounded(estimate(value, value - half, value + half, count))


def _rounded(found: Estimate) -> dict[str, float]:
    return {
        name: round(float(found[key] or 0.0), 3) for name, key in (("auc", "value"), ("low", "low"), ("high", "high"))
    }
