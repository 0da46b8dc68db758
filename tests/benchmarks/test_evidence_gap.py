"""Training patients read by their own network: known figures, and rows that outlive model and patients."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from benchmarks.evidence import gap
from benchmarks.evidence.cohorts import run_folder
from benchmarks.evidence.scoring import store_results
from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.files import read_json, write_json
from cpmn.model.inference import Prediction
from cpmn.volume.images import write_image
from tests.benchmarks.conftest import finish, make_plan

PATIENTS, SPLIT = 12, 8


@pytest.fixture
def plan(made, monkeypatch):
    """A stored run that finds half of each clot of its training patients and nothing in others; one is excluded."""
    monkeypatch.setattr(gap, "RESULTS", made / "results")
    plan = make_plan(training_patients=PATIENTS, training_split=SPLIT, gaps=["learnable/nct_only-s0"])
    finish(plan, plan.runs[0])
    store_results(plan, plan.runs[0])
    path = made / "results" / "learnable/nct_only-s0" / "run.json"
    facts = read_json(path)
    facts["training"]["excluded"] = {patient_id(SPLIT - 1): "it failed"}
    write_json(path, facts)
    crops = run_folder("learnable", exact=False) / "results" / "crop"
    for index in range(PATIENTS):
        label = phantom_label(plan.seeds["train"]["learnable"], index)
        clot, nct = np.zeros((4, 4, 20), np.uint8), np.zeros((4, 4, 20), np.int16)
        clot[0, 0, :10] = 3 * label
        nct[0, 0, :10] = label * (index < SPLIT)
        for name, array in (("embolus", clot), ("nct", nct)):
            write_image(sitk.GetImageFromArray(array), crops / patient_id(index) / f"{name}.nii.gz")

    def read(crop: sitk.Image) -> Prediction:
        seen = sitk.GetArrayFromImage(crop).astype(np.float32)
        seen[..., 5:] = 0
        return Prediction(probability=seen, cam=seen, class_probability=0.9 if seen.any() else 0.1)

    monkeypatch.setattr(gap, "method_of", lambda variant: SimpleNamespace(load=lambda *_: read))
    return plan


def test_training_and_validation_patients_are_judged_apart(plan):
    training, validation = gap.measure_gaps(plan).to_dict("records")
    labels = [phantom_label(plan.seeds["train"]["learnable"], index) for index in range(PATIENTS)]
    assert training["part"] == "training"
    assert training["auc"].startswith("1.000")
    assert training["dice"].startswith("0.667")  # 5 of 10 voxels, all of them right
    assert training["pe_and_normals"] == f"{sum(labels[: SPLIT - 1])} + {SPLIT - 1 - sum(labels[: SPLIT - 1])}"
    assert validation["part"] == "validation"
    assert validation["auc"].startswith("0.500")
    assert validation["dice"].startswith("0.000")


def test_rows_that_are_there_are_kept(plan, monkeypatch):
    first = gap.measure_gaps(plan)
    monkeypatch.setattr(gap, "method_of", lambda variant: pytest.fail("read again"))
    again = gap.measure_gaps(plan)
    pd.testing.assert_frame_equal(first, again)


def test_a_run_that_the_plan_lacks_is_named():
    with pytest.raises(ValueError, match="named, but not among the runs: mixed/nowhere"):
        make_plan(gaps=["mixed/nowhere"])
