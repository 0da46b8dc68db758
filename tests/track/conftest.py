"""MLflow stores and servers, a finished run's files, and the real finished run of the tiny cohort.

With `CPMN_FINISHED_RUN` in the environment, the folder of a finished run takes the place of a new one of the tiny
cohort: quicker, and with better pictures for the documentation (`test_mlflow_browser.py`).
"""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cpmn.config.evaluate import EvaluateConfig
from cpmn.files import read_json, write_json
from cpmn.model.modelfiles import RunFiles
from cpmn.model.seal import sealed
from cpmn.scoring.decision import Unseen, fit_decision
from cpmn.track import current_track, start_parent
from tests.conftest import ROOT, Project

SCRIPTS = Path(sys.executable).parent
# MLflow's server starts eight processes more for jobs of language models, each of which loads MLflow.
SERVER = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

ROWS = [
    {"epoch": 1, "step": 50, "train_total": 2.0, "validation_dice": ""},
    {"epoch": 2, "step": 100, "train_total": 1.0, "validation_dice": 0.5},
]
METRICS = {
    "reference": "nct_truth",
    "patient": {"auc": {"value": 0.75, "low": 0.5, "high": 1.0, "n": 4}, "sensitivity": {"value": None, "n": 0}},
    "threshold": {"value": 1.5, "rule": "specificity"},
}
UNSEEN = [Unseen(str(label), label, {0: dict.fromkeys(("classification", "lesion"), float(label))}) for label in (0, 1)]
DESCRIPTION = dict.fromkeys(("difficulty", "data_hash", "config_hash", "commit", "version"), "x") | {
    "cohort": "tiny",
    "config": {"cohort": "/data/cohort.csv", "a": {"b": 1}},
}
Row = dict[str, Any]


class Folder:
    """A folder with `results/` of a run: what `snakemake` would have left there."""

    rows, metrics, description = ROWS, METRICS, DESCRIPTION

    def __init__(self, path: Path, uri: str):
        self.results, self.uri = path / "results", uri

    def fold(
        self, variant: str = "cpmn", rows: Iterable[Row] = ROWS, weights: bytes = b"weights", number: int = 0
    ) -> Path:
        """A finished training; the present configuration has one fold, whatever their number."""
        folder = self.results / "train" / variant / f"fold-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(self.results / "train/splits.json", {"folds": [{}]})
        write_table(folder / "history.csv", rows)
        (folder / "model.safetensors").write_bytes(weights)
        write_json(folder / "plan.json", {})
        self._seal(variant)
        return folder

    def variant(self, variant: str = "cpmn", patients: Iterable[Row] = ()) -> Path:
        """An evaluated variant."""
        folder = self.results / "evaluate" / variant
        write_json(folder / "metrics.json", METRICS)
        write_json(folder / "decision.json", fit_decision(UNSEEN, variant, 1, EvaluateConfig()).model_dump(mode="json"))
        self._seal(variant)
        if patients:
            write_table(folder / "patients.csv", patients)
        return folder

    def _seal(self, variant: str) -> None:
        """As `evaluate` does, once both the training and the decision are there."""
        path = self.results / "evaluate" / variant / "decision.json"
        if path.is_file() and (self.results / "train" / variant / "fold-0").is_dir():
            write_json(path, sealed(read_json(path), RunFiles(self.results, variant)))

    def track(self, *variants: str, enabled: bool = True, **changes: Any) -> dict[str, Any]:
        """The track of a configuration with these variants; `changes` are of the run's description."""
        records = {
            name: {"base": name.split("-")[0], "seed": 3, "settings": {"steps": 8, "patch_size": [16, 16, 16]}}
            for name in variants or ("cpmn",)
        }
        run = {**DESCRIPTION, "variants": records, **changes}
        return current_track(self.results / "track.json", run, self.uri, enabled=enabled)

    def move(self, uri: str) -> None:
        """Give the run another MLflow address, at which it is unknown."""
        path = self.results / "track.json"
        write_json(path, read_json(path) | {"uri": uri})

    def client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def runs(self) -> list[Any]:
        """All runs of the experiment."""
        experiment = self.client().get_experiment_by_name("tiny")
        return self.client().search_runs([experiment.experiment_id]) if experiment else []

    def level(self, level: str) -> Any:
        """The one run of a level."""
        (found,) = [run for run in self.runs() if run.data.tags["level"] == level]
        return found

    def curve(self, metric: str = "train_total") -> list[tuple[int, float]]:
        """Steps and values of the fold's curve; empty without a fold."""
        folds = [run for run in self.runs() if run.data.tags["level"] == "fold"]
        history = [self.client().get_metric_history(run.info.run_id, metric) for run in folds]
        return sorted((point.step, point.value) for points in history for point in points)


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV."""
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, copied by each test (the migration takes seconds)."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    start_parent(
        {**DESCRIPTION, "uri": f"sqlite:///{path}", "experiment": "first", "key": "", "started": "", "cohort": ""}
    )
    return path


@pytest.fixture
def folder(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """An empty run folder with a store of its own, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(store.read_bytes())
    return Folder(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture(scope="session")
def tiny(request: pytest.FixtureRequest) -> Project:
    """A finished run of the tiny cohort. Tests leave its results as they found them."""
    if given := os.environ.get("CPMN_FINISHED_RUN"):
        return Project(ROOT, Path(given))
    return request.getfixturevalue("finished")


@pytest.fixture(scope="session")
def uri(tiny: Project) -> str:
    """MLflow address of the finished run."""
    return f"sqlite:///{tiny.run / 'mlflow.db'}"


@pytest.fixture(scope="session")
def client(uri: str) -> Any:
    """MLflow client of the finished run."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


@pytest.fixture(scope="session")
def runs(client: Any) -> dict[str, Any]:
    """Runs of the finished run by name; that of the whole workflow as `workflow`."""
    experiment = client.get_experiment_by_name("phantom-learnable")
    found = client.search_runs([experiment.experiment_id])
    return {"workflow" if run.data.tags["level"] == "workflow" else run.info.run_name: run for run in found}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(arguments: list[str], port: int, ready: str, folder: Path, **environment: str) -> Iterator[str]:
    """Run `mlflow` with these arguments in `folder` until the block ends; yields its address when `ready` answers."""
    address, log = f"http://127.0.0.1:{port}", folder / f"server-{port}.log"
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=folder,
            env={**os.environ, "PATH": path, **SERVER, **environment},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not answers(f"{address}{ready}"):
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.2)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Whether a page is there."""
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def serve() -> Any:
    """`serving`, for test modules."""
    return serving


@pytest.fixture(scope="session")
def port() -> Any:
    """`free_port`, for test modules."""
    return free_port
