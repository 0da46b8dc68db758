"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# What is tested is that records are right, not that this machine is idle: SQLite may take its time on a busy one.
os.environ.setdefault("CPMN_TRACK_WAIT_SECONDS", "170")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real CT scans beside the project (never copied into it); the test is skipped where it is absent."""
    folder = Path(os.environ.get("CPMN_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real CT scans are absent: no folder {folder} (set CPMN_REAL_DATA)")
    return folder
