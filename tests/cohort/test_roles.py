"""Splits that do not belong to the run."""

from pathlib import Path

import pytest

from cpmn.cohort.roles import check_plans, read_splits
from cpmn.cohort.sheet import Patient
from cpmn.config.root import load_config
from cpmn.config.variants import resolve_variant
from cpmn.errors import CpmnError
from cpmn.files import write_json
from cpmn.job.identity import variant_settings

SPLITS = {"seed": 0, "method": "", "test": ["a", "b"], "folds": [{"train": ["c"], "validation": ["d"]}]}


def patients(names):
    return [Patient.model_validate({"patient_id": name, "nct": Path(name), "label": 0}) for name in names]


def test_the_splits_of_this_run_are_taken(tmp_path):
    splits = SPLITS | {"calibration": ["e"]}
    write_json(tmp_path / "splits.json", splits)
    assert read_splits(tmp_path / "splits.json", patients("abcde")) == splits


@pytest.mark.parametrize("names", ["abc", "abcde"], ids=["one too many", "a newcomer"])
def test_splits_of_another_cohort_are_refused(tmp_path, names):
    write_json(tmp_path / "splits.json", SPLITS)
    with pytest.raises(CpmnError, match=r"splits.json is of another cohort .*`dvc checkout`"):
        read_splits(tmp_path / "splits.json", patients(names))


def test_models_of_other_settings_are_refused(tmp_path):
    """Half the steps' model is back after `dvc checkout`, and Snakemake remembers the run with all of them."""
    config = load_config({"train": {"schedule": {"steps": 1000}}})
    settings, path = variant_settings(config, "cpmn"), tmp_path / "fold-0" / "plan.json"
    trained = resolve_variant(config.train, "cpmn", config.variants)
    write_json(path, {"config": trained.model_dump(mode="json")})
    check_plans([path], settings)
    write_json(path, {"config": trained.changed(schedule={"steps": 500}).model_dump(mode="json")})
    with pytest.raises(
        CpmnError, match=r"trained with other settings than this run's: schedule\.steps\. .*dvc checkout"
    ):
        check_plans([path], settings)


def test_a_planned_patch_is_no_other_setting(tmp_path):
    config = load_config({"train": {"network": {"planned": True}}})
    trained = resolve_variant(config.train, "cpmn", config.variants)
    write_json(
        tmp_path / "plan.json",
        {"config": trained.changed(network={"patch_size": (32, 32, 32)}).model_dump(mode="json")},
    )
    check_plans([tmp_path / "plan.json"], variant_settings(config, "cpmn"))
