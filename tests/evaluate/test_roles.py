"""Splits that do not belong to the run."""

import pytest

from cpmn.errors import CpmnError
from cpmn.evaluate.roles import check_splits
from cpmn.files import write_json

SPLITS = {"seed": 0, "method": "", "test": ["a", "b"], "folds": [{"train": ["c"], "validation": ["d"]}]}


def test_the_splits_of_this_run_are_taken(tmp_path):
    write_json(tmp_path / "splits.json", SPLITS)
    assert check_splits(tmp_path / "splits.json", SPLITS) == SPLITS


def test_splits_of_another_version_are_refused(tmp_path):
    write_json(tmp_path / "splits.json", SPLITS | {"test": ["a"]})
    with pytest.raises(CpmnError, match=r"splits.json is of another cohort .*`dvc checkout`"):
        check_splits(tmp_path / "splits.json", SPLITS)
