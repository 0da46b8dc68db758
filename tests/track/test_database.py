"""MLflow's SQLite file is whole or is made anew: a kill in the first seconds does not end tracking for good."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from cpmn.track import sync_results

pytestmark = pytest.mark.xdist_group("mlflow")

MAKE = "import sys; from cpmn.track.database import ready; ready('sqlite:///new.db')"


@pytest.fixture
def folder(folder):
    """A folder whose database was not made yet."""
    folder.uri = f"sqlite:///{folder.results.parent / 'new.db'}"
    return folder


def database(folder):
    return folder.results.parent / "new.db"


@pytest.mark.parametrize("statement", ["", "CREATE TABLE experiments (experiment_id INTEGER)", "CREATE TABLE runs (x)"])
def test_a_half_made_file_is_put_aside(folder, statement):
    with closing(sqlite3.connect(database(folder))) as opened:
        opened.execute(statement)
    assert folder.track()["run_id"]
    assert database(folder).with_name("new.db.half-made").exists()
    assert len(folder.runs()) == 1


def test_a_whole_file_is_left_alone(folder):
    first = folder.track()
    inode = database(folder).stat().st_ino
    assert folder.track(commit="another")["run_id"] != first["run_id"]
    assert database(folder).stat().st_ino == inode
    assert len(folder.runs()) == 2


def test_sync_makes_the_tables_anew_where_they_were_left_half_made(folder):
    folder.fold()
    folder.track(enabled=False)
    with closing(sqlite3.connect(database(folder))) as opened:
        opened.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    assert sync_results(folder.results) == 2
    assert folder.curve()


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_kill_while_the_tables_are_made(folder, share):
    """Killed once the unfinished file has that share of the bytes of a whole one."""
    whole = 700_000
    made = subprocess.Popen([sys.executable, "-c", MAKE], cwd=folder.results.parent)
    while made.poll() is None:
        growing = [path.stat().st_size for path in folder.results.parent.glob(".writing-*-new.db")]
        if growing and growing[0] > share * whole:
            os.kill(made.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    assert made.wait() == -signal.SIGKILL
    assert not database(folder).exists()
    assert folder.track()["run_id"]
    assert [path.name for path in folder.results.parent.glob(".writing*")] == []
