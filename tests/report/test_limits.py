"""What the report says against its own figures."""

import pytest

from cpmn.config.root import load_config
from cpmn.files import read_json, write_json
from cpmn.report.collect import collect
from cpmn.report.limits import limits


@pytest.fixture
def said(run):
    """Texts of the limits by name, after a change of `splits.json`."""

    def texts(**changes) -> dict[str, str]:
        path = run.results / "train/splits.json"
        write_json(path, read_json(path) | changes)
        found = limits(collect(run.results, run.patients, run.variants), load_config({}), {})
        return {limit.name: limit.text for limit in found}

    return texts


def test_the_threshold_is_said_to_come_from_whom_it_was_fitted_on(said):
    assert "fitted on validation patients" in said()["Threshold and training"]
    assert "fitted on calibration patients" in said(calibration=["p01"])["Threshold and training"]


def test_a_threshold_of_single_networks_for_an_ensemble_is_a_limit(said):
    fold = {"train": [], "validation": []}
    assert "mean of several folds" not in said()["Threshold and training"]
    assert "mean of several folds" in said(folds=[fold, fold])["Threshold and training"]
    assert "mean of several folds" not in said(calibration=["p01"])["Threshold and training"]


def test_patients_of_one_group_are_a_limit(run, said):
    assert "Groups" not in said()
    tested = [patient.patient_id for patient in collect(run.results, run.patients, run.variants).test]
    run.patients[:] = [
        patient.model_copy(update={"group": "one person"}) if patient.patient_id in tested[:2] else patient
        for patient in run.patients
    ]
    assert f"{len(tested)} test patients stand in {len(tested) - 1} groups" in said()["Groups"]
