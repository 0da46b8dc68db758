"""Run folders beside the finished run of the tiny cohort."""

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def another(finished: Any, tmp_path: Path) -> Any:
    """The same code with an empty run folder, for cohorts built from the finished one's phantom."""
    project = type(finished)(finished.code, tmp_path / "run")
    project.run.mkdir()
    return project


@pytest.fixture
def continued(finished: Any, another: Any) -> Any:
    """`another` with a copy of all that the finished run holds."""
    shutil.copytree(finished.run, another.run, dirs_exist_ok=True)
    return another
