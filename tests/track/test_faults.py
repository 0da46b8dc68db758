"""A tracker that is down, slow, full or read-only: the training goes on, and `sync` sends later what is missing."""

import logging
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cpmn.track import LiveFold, attempt, server, sync_results

pytestmark = pytest.mark.xdist_group("mlflow")

EPOCHS = [{"epoch": n, "step": 10 * n, "train_total": 1 / n} for n in range(1, 101)]
CURVE = [(row["step"], row["train_total"]) for row in EPOCHS]


@pytest.fixture(autouse=True)
def waits_as_for_a_user(monkeypatch):
    """The other tests wait longer than a job does by default."""
    monkeypatch.setattr(server, "LONGEST_WAIT_SECONDS", 30.0)


@pytest.fixture
def slow_server(monkeypatch):
    """Address of a server that takes a request and does not answer.

    A job waits two seconds for it: far longer than its own work takes, even on a busy machine.
    """
    monkeypatch.setattr(server, "LONGEST_WAIT_SECONDS", 2.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            over.wait(30)

        do_POST = do_PUT = do_PATCH = do_GET

        def log_message(self, format, *args):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    over.set()
    listening.shutdown()


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_dead_server_costs_a_warning(folder, caplog, when):
    sqlite, folder.uri = folder.uri, "http://127.0.0.1:9"
    with caplog.at_level(logging.WARNING):
        track = folder.track()
        track |= {"run_id": "1", "experiment_id": "1"} if when == "during" else {}
        with LiveFold(track, folder.fold(rows=EPOCHS)) as live:
            for row in EPOCHS[:3]:
                live.add(row)
    assert track["run_id"] == (None if when == "before" else "1")
    assert "cpmn track sync" in caplog.text
    assert_sync_makes_up_for_it(folder, sqlite)


def test_a_slow_server_holds_nothing_up(folder, caplog, slow_server):
    sqlite, folder.uri = folder.uri, slow_server
    with caplog.at_level(logging.WARNING):
        start = time.monotonic()
        track = folder.track()
        assert track["run_id"] is None
        assert time.monotonic() - start < 6
        start = time.monotonic()
        live = LiveFold(track | {"run_id": "1", "experiment_id": "1"}, folder.fold(rows=EPOCHS))
        for row in EPOCHS:
            live.add(row)
        assert time.monotonic() - start < 1.9, "an epoch waited for the server"
        live.finish()
        assert time.monotonic() - start < 6
    assert "too slow" in caplog.text
    assert_sync_makes_up_for_it(folder, sqlite)


TRAINING = """
import logging, resource, sys
from pathlib import Path
from cpmn.files import read_json
from cpmn.track import LiveFold
from tests_epochs import EPOCHS

logging.basicConfig(level=logging.WARNING)
resource.setrlimit(resource.RLIMIT_FSIZE, (Path("mlflow.db").stat().st_size + int(sys.argv[1]),) * 2)
with LiveFold(read_json("results/track.json"), Path("results/train/cpmn/fold-0")) as live:
    for row in EPOCHS:
        live.add(row)
print("trained")
"""


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 16_384], ids=["at-once", "half-way"])
def test_a_full_disk_holds_nothing_up(folder, left):
    """The database cannot grow beyond `left` bytes more: writes fail as on a full disk."""
    track = folder.track()
    folder.fold(rows=EPOCHS)
    (folder.results.parent / "tests_epochs.py").write_text(f"EPOCHS = {EPOCHS}")
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(left)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "trained" in done.stdout
    assert "MLflow" in done.stderr
    assert len(folder.curve()) < len(CURVE)
    assert sync_results(folder.results) == 2
    assert folder.curve() == CURVE
    assert folder.track()["run_id"] == track["run_id"]


def test_a_read_only_database_holds_nothing_up(folder, caplog):
    sqlite = folder.uri
    track = folder.track() | {"uri": f"sqlite:///file:{folder.results.parent / 'mlflow.db'}?mode=ro&uri=true"}
    with caplog.at_level(logging.WARNING), LiveFold(track, folder.fold(rows=EPOCHS)) as live:
        live.add(EPOCHS[0])
    assert "readonly database" in caplog.text
    assert folder.curve() == []
    assert_sync_makes_up_for_it(folder, sqlite)


def test_an_epoch_that_fails_goes_with_the_next(folder, monkeypatch):
    sent = []

    def sometimes(client, run_id, rows):
        if len(sent) == 1 and len(rows) < 3:
            raise OSError("no route to host")
        sent.append([row["epoch"] for row in rows])

    monkeypatch.setattr("cpmn.track.live.send_rows", sometimes)
    with LiveFold(folder.track(), folder.fold(rows=EPOCHS)) as live:
        for row in EPOCHS[:5]:
            live.add(row)
    assert sent == [[1], [2, 3, 4], [5]]
    assert folder.curve() == CURVE


def test_an_attempt_returns_what_was_done_in_time(caplog, monkeypatch):
    monkeypatch.setattr(server, "LONGEST_WAIT_SECONDS", 0.05)
    assert attempt("adding", sum, (1, 2)) == 3
    assert attempt("failing", int, "x") is None
    assert "failing failed" in caplog.text
    assert attempt("waiting", time.sleep, 0.5) is None
    assert "too slow for waiting" in caplog.text


def assert_sync_makes_up_for_it(folder, uri):
    folder.variant()
    folder.uri = uri
    folder.move(uri)
    assert sync_results(folder.results) == 3
    assert folder.curve() == CURVE
    assert folder.level("variant").data.metrics["patient.auc"] == 0.75
