"""The batch does what the workflow's own rules do, in one process."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import yaml

from cpmn.cohort.sheet import load_cohort
from cpmn.config.root import load_config
from cpmn.job.status import read_status
from cpmn.volume.images import read_image
from study.preprocess import preprocess_patient, products_of, stages_of
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("study")]

CONFIG = load_config(yaml.safe_load((ROOT / "config" / "tiny.yaml").read_text()) | {"on_bad_patient": "exclude"})


STAGES = ("convert", "register", "propagate", "crop")


def files_in(results: Path, patient: str) -> set[Path]:
    return {path.relative_to(results) for path in results.glob(f"*/{patient}/*") if path.parts[-3] in STAGES}


def test_a_pair_gets_the_files_of_the_workflows_rules(finished, tmp_path, monkeypatch):
    patient = load_cohort(finished.run / "data/phantom/cohort.csv")[0]
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")  # as in a job; this process may have loaded ITK
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(preprocess_patient, patient, tmp_path, CONFIG, stages_of(patient)).result()
    theirs = finished.run / "results"
    assert files_in(tmp_path, patient.patient_id) == files_in(theirs, patient.patient_id)
    images = [path for path in files_in(tmp_path, patient.patient_id) if path.name.endswith(".nii.gz")]
    assert len(images) == 10
    for path in images:
        assert (tmp_path / path).read_bytes() == (theirs / path).read_bytes(), path


def test_what_is_declared_is_written_and_a_bad_patient_is_left_out(finished, tmp_path):
    patient = next(one for one in load_cohort(finished.run / "data/phantom/cohort.csv") if one.label)
    alone = patient.model_copy(update={"ctpa": None, "ctpa_mask": None, "nct_mask": patient.nct_truth})
    wrong = alone.model_copy(update={"patient_id": "wrong", "nct_mask": patient.ctpa_mask})  # on another grid
    for one in (alone, wrong):
        preprocess_patient(one, tmp_path, CONFIG, stages_of(one))
        made = products_of(one, tmp_path, stages_of(one))
        declared = {path.relative_to(tmp_path) for files in made.values() for path in files}
        assert files_in(tmp_path, one.patient_id) == declared
    assert read_status(tmp_path / "crop" / alone.patient_id / "status.json")["passed"]
    left_out = read_status(tmp_path / "crop" / "wrong" / "status.json")
    assert (left_out["passed"], left_out["stage"]) == (False, "propagate")


def test_an_outline_on_the_ctpa_of_whom_nobody_outlined_is_carried_as_a_persons(finished, tmp_path):
    patient = next(one for one in load_cohort(finished.run / "data/phantom/cohort.csv") if one.ctpa_mask)
    for stage in ("convert", "register"):
        shutil.copytree(finished.run / "results" / stage / patient.patient_id, tmp_path / stage / patient.patient_id)
    reported = patient.model_copy(update={"ctpa_mask": None})
    preprocess_patient(reported, tmp_path, CONFIG, ("propagate",), own=patient.ctpa_mask)
    carried, theirs = (
        sitk.GetArrayFromImage(read_image(results / "propagate" / patient.patient_id / "embolus.nii.gz"))
        for results in (tmp_path, finished.run / "results")
    )
    np.testing.assert_array_equal(carried, theirs)
    assert read_status(tmp_path / "propagate" / patient.patient_id / "status.json").get("source") == "annotate"
