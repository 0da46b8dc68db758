"""Whether a network calls bright blood a clot: how scores of patients without PE follow their blood's HU.

The blood is the phantom's own, drawn from the seed; how well `cpmn.anatomy.blood` measures it in the NCT stands beside.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, get_args

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, spearmanr

from benchmarks.evidence.cohorts import patients_folder
from benchmarks.evidence.markdown import estimate
from benchmarks.evidence.plan import RESULTS, Difficulty, Plan, Role, cohort_patients, phantom_config
from benchmarks.evidence.statistics import cohort_rows
from benchmarks.evidence.table import BLOOD_FILE, MEASURED_FILE
from cpmn.anatomy.blood import blood_hu
from cpmn.files import write_text
from cpmn.phantom.anatomy import blood_and_tissue
from cpmn.phantom.materials import Tissue
from cpmn.scoring.metrics import auc
from cpmn.volume.images import read_image

FEWEST_NORMALS = 10
SAMPLES = 2000


def measure_blood(plan: Plan) -> pd.DataFrame:
    """Write and return `blood.csv`: of each stored run and cohort the rank correlation of score and blood in normals.

    Writes `blood_measured.csv` too, for the scoring cohorts that are there.
    """
    rows, drawn = [], cache(lambda difficulty, role: drawn_blood(plan, difficulty, role))
    for run in plan.runs:
        for role in (role for role in run.scored if role != "calibration"):
            normals = cohort_rows(RESULTS / run.name / "patients.csv", role, label="0")
            if len(normals) >= FEWEST_NORMALS:
                blood = drawn(run.difficulty, role)
                pairs = [(float(row["score"]), blood[row["patient_id"]]) for row in normals]
                rows.append({"run": run.name, "cohort": role, "normals": len(pairs)} | correlation(np.array(pairs)))
    table = pd.DataFrame(rows)
    write_text(RESULTS / BLOOD_FILE, table.to_csv(index=False))
    _measure(plan, drawn)
    return table


def correlation(pairs: np.ndarray) -> dict[str, float]:
    """Spearman's rank correlation of the columns of `pairs` (n, 2), with a bootstrap interval over patients."""
    first, second = pairs.T
    drawn = bootstrap(
        (first, second),
        lambda x, y: spearmanr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=SAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    values = {"rank_correlation": spearmanr(first, second).statistic, "low": drawn.low, "high": drawn.high}
    return {name: round(float(value), 3) for name, value in values.items()}


def drawn_blood(plan: Plan, difficulty: Difficulty, role: Role) -> dict[str, float]:
    """HU of each patient's arteries on NCT, as the phantom draws it."""
    config = phantom_config(plan, difficulty, role)
    patients = cohort_patients(plan, difficulty, role)
    return {name: float(blood_and_tissue(config, name).nct[Tissue.ARTERY]) for name in patients}


def _measure(plan: Plan, drawn: Callable[[Difficulty, Role], dict[str, float]]) -> None:
    """By cohort, the AUC of the `drawn` blood between PE patients and others (a cohort's luck: it says nothing of PE),
    and measured minus drawn blood: mean, SD and the largest, in HU. Rows of cohorts that have not grown are kept."""
    path = RESULTS / MEASURED_FILE
    kept = pd.read_csv(path, dtype=str).to_dict("records") if path.is_file() else []
    rows: dict[str, dict[str, Any]] = {row["cohort"]: row for row in kept}
    roles: tuple[Role, ...] = get_args(Role)
    for role in roles:
        for difficulty in plan.seeds.get(role, {}):
            folder, names = patients_folder(plan, difficulty, role), cohort_patients(plan, difficulty, role)
            known = rows.get(folder.name, {}).get("patients") == str(len(names))
            if known or not all((folder / name / "nct.nii").is_file() for name in names):
                continue
            truth = drawn(difficulty, role)
            luck = auc(list(names.values()), [truth[name] for name in names])
            found = {name: blood_hu(read_image(folder / name / "nct.nii")) for name in names}
            error = np.array([value - truth[name] for name, value in found.items() if value is not None])
            row = {"cohort": folder.name, "patients": len(names), "not_measured": len(names) - len(error)}
            figures = {"mean_error_hu": error.mean(), "sd_hu": error.std(ddof=1), "largest_hu": np.abs(error).max()}
            figures = {name: f"{value:.2f}" for name, value in figures.items()} | {"auc_of_blood": estimate(luck)}
            rows[folder.name] = row | figures
    if rows:
        write_text(path, pd.DataFrame(rows.values()).to_csv(index=False))
