"""Scores that follow the blood: known correlations, and what stands in the tables."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from benchmarks.evidence import blood
from benchmarks.evidence.blood import correlation
from benchmarks.evidence.cohorts import patients_folder
from benchmarks.evidence.plan import cohort_patients
from benchmarks.evidence.scoring import store_results
from cpmn.volume.images import write_image
from tests.benchmarks.conftest import finish, make_plan


def test_correlation_knows_order_and_its_absence():
    random = np.random.default_rng(0)
    hu = random.normal(50, 7, 200)
    follows = correlation(np.stack([np.exp(hu / 10), hu], axis=1))
    assert follows == {"rank_correlation": 1.0, "low": 1.0, "high": 1.0}
    ignores = correlation(np.stack([random.normal(size=200), hu], axis=1))
    assert ignores["low"] < 0 < ignores["high"]
    assert ignores["high"] - ignores["low"] < 0.35


def test_each_stored_run_has_a_row_and_measured_blood_is_held_against_the_drawn(made, monkeypatch):
    monkeypatch.setattr(blood, "RESULTS", made / "results")
    monkeypatch.setattr(blood, "blood_hu", lambda image: float(image[0, 0, 0]) + 2)
    drawn = {f"phantom-{n:03d}": 40 + n for n in range(1, 60)}
    monkeypatch.setattr(
        blood, "drawn_blood", lambda plan, *cohort: {name: drawn[name] for name in cohort_patients(plan, *cohort)}
    )
    size = {"pe": 4, "normal": 12}
    plan = make_plan(sizes={"learnable": dict.fromkeys(("calibration", "development", "test"), size)})
    finish(plan, plan.runs[0])
    store_results(plan, plan.runs[0])
    image = sitk.Image(1, 1, 1, sitk.sitkInt16)
    for name in cohort_patients(plan, "learnable", "test"):  # images of the calibration cohort are not there
        image[0, 0, 0] = drawn[name]
        write_image(image, patients_folder(plan, "learnable", "test") / name / "nct.nii")
    (row,) = blood.measure_blood(plan).to_dict("records")
    assert (row["run"], row["cohort"], row["normals"]) == ("learnable/nct_only-s0", "test", 12)
    (measured,) = pd.read_csv(made / "results" / "blood_measured.csv").to_dict("records")
    assert (measured["cohort"], measured["patients"], measured["not_measured"]) == ("learnable-3", 16, 0)
    assert measured["mean_error_hu"] == pytest.approx(2.0)
    assert measured["sd_hu"] == 0.0
    cohort = cohort_patients(plan, "learnable", "test")
    pe, normal = ([drawn[name] for name, label in cohort.items() if label == wanted] for wanted in (1, 0))
    above = sum(one > other for one in pe for other in normal) / (len(pe) * len(normal))
    assert measured["auc_of_blood"].startswith(f"{above:.3f} (")

    path = made / "results" / "blood_measured.csv"
    path.write_text(path.read_text().replace("2.00", "7.30").replace("-3,16", "-3,8"))  # as the cohort grows
    blood.measure_blood(plan)
    (grown,) = pd.read_csv(path).to_dict("records")
    assert grown == measured
    path.write_text(path.read_text().replace("2.00", "7.30"))
    before = path.read_text()
    blood.measure_blood(plan)
    assert path.read_text() == before
