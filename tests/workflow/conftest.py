"""Run folders beside the finished run of the tiny cohort."""

from pathlib import Path

import pytest

from tests.conftest import Project


@pytest.fixture
def another(finished: Project, tmp_path: Path) -> Project:
    """`finished` with an empty run folder."""
    return finished.beside(tmp_path / "run")


@pytest.fixture
def continued(finished: Project, tmp_path: Path) -> Project:
    """`finished` in a copy of its run folder."""
    return finished.continued(tmp_path / "run")
