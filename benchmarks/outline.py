"""How well clots could be outlined on the NCT by readers who know the patient's anatomy exactly.

They subtract from the scan what they know of it, average the rest over artery alone, and mark what is brighter, or
brighter or darker, than a limit. The width of the average, the limit and which of both are chosen on every second
patient and used on the others. Beside them a network of `docs/benchmark.md` on the same patients and voxels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from benchmarks.evidence.plan import RESULTS, Difficulty, Plan, Role, cohort_patients, load_plan, phantom_config
from benchmarks.evidence.statistics import cohort_rows
from benchmarks.kept import kept
from cpmn.config.phantom import PhantomConfig
from cpmn.files import sha256_of_files, sha256_of_json
from cpmn.job.dependencies import source_files
from cpmn.phantom.anatomy import build_anatomy, without_emboli
from cpmn.phantom.image import clean_image
from cpmn.phantom.known import known_of
from cpmn.phantom.scan import scan_phase
from cpmn.scoring import metrics
from cpmn.scoring.overlap import dice
from cpmn.volume.voxels import smoothed_inside

SIGMAS_MM = (0.5, 0.75, 1.0, 1.5, 2.0)
LIMITS_HU = tuple(range(3, 20))
ARTERY = 0.5  # a voxel is artery where at least this share of it is, as a voxel is clot in the truth
PATIENTS = 20  # with PE
STUDIES: tuple[tuple[Difficulty, Role, str], ...] = (
    ("learnable", "development", "learnable/trials/nct_only-2"),
    ("mixed", "opened", "mixed/trials/nct_only-15"),
    ("learnable", "test", "learnable/nct_only-s0"),
)
"""Cohorts that choices were made on with the best `nct_only` there, and the locked one with what read it once."""
CACHE = Path("results/benchmarks/outline")


def measure() -> Iterator[dict[str, Any]]:
    """Rows (difficulty, cohort, reader, Dice with interval over patients)."""
    plan = load_plan()
    for study in STUDIES:
        yield from measure_study(plan, *study)


def measure_study(plan: Plan, difficulty: Difficulty, role: Role, run: str) -> Iterator[dict[str, Any]]:
    """The rows of one cohort, a `run` of the evidence among them."""
    config, where = phantom_config(plan, difficulty, role), {"difficulty": difficulty, "cohort": role}
    names = [name for name, label in cohort_patients(plan, difficulty, role).items() if label][:PATIENTS]
    key = sha256_of_json([config.model_dump(mode="json"), sha256_of_files(source_files("benchmarks.outline"))])
    records = [
        kept(CACHE / difficulty / role / f"{name}.json", key, lambda name=name: outline(config, name))
        for name in tqdm(names, unit="patient", disable=None)
    ]
    for reader in records[0]["dice"]:
        chosen = cross_fitted(np.array([record["dice"][reader] for record in records]))
        yield where | {"reader": reader, **metrics.mean(chosen)}
    rows = {row["patient_id"]: row for row in cohort_rows(RESULTS / run / "patients.csv", role)}
    network = [float(rows[name]["dice"] or 0) for name in names]
    yield where | {"reader": f"network ({run})", **metrics.mean(network)}


def outline(config: PhantomConfig, name: str) -> dict[str, Any]:
    """Dice of a PE patient by reader: lists (sides, sigmas, limits), see `dices`."""
    anatomy = build_anatomy(config, name)
    known, scan = known_of(config, anatomy), scan_phase(config, anatomy, "nct")
    even = clean_image(config, known.canvas, without_emboli(anatomy), "nct", even_blood=True)
    artery, truth = known.artery >= ARTERY, scan.clots > 0
    box = ndimage.find_objects((artery | truth).astype(np.uint8))[0]
    rests = {
        "knows anatomy and blood": scan.hu - known.twin,
        "knows anatomy, takes blood for even": scan.hu - even,
        "knows anatomy, takes blood for even; no noise": scan.clean - even,
    }
    spacing = known.grid.spacing
    return {"dice": {reader: dices(rest[box], artery[box], truth[box], spacing) for reader, rest in rests.items()}}


def dices(rest: np.ndarray, artery: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> list:
    """Dice (sides, sigmas, limits) of marking artery where the `rest` in HU (z, y, x), averaged in it, exceeds a limit.

    The first side is the rest as it is, the second its absolute value.
    """
    averages = [smoothed_inside(rest, artery, [sigma / step for step in spacing[::-1]]) for sigma in SIGMAS_MM]
    return [
        [[dice((side(average) > limit) & artery, truth) for limit in LIMITS_HU] for average in averages]
        for side in (np.positive, np.abs)
    ]


def cross_fitted(values: np.ndarray) -> np.ndarray:
    """Each patient's Dice (n,) at the setting that is best on average in the other half, from those at all (n, ...)."""
    values = values.reshape(len(values), -1)
    chosen = np.empty(len(values))
    for half in (0, 1):
        chosen[half::2] = values[half::2, values[1 - half :: 2].mean(axis=0).argmax()]
    return chosen
