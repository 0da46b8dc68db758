"""Records in a real MLflow store (SQLite): what is sent, twice sent, resumed, and what a dead server does."""

import csv
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cpmn.errors import CpmnError
from cpmn.files import write_json
from cpmn.tracking import LiveFold, current_track, flatten_metrics, start_parent, sync_results

ROWS = [
    {"epoch": 1, "train_total": 2.0, "validation_dice": ""},
    {"epoch": 2, "train_total": 1.0, "validation_dice": 0.5},
]
METRICS = {
    "reference": "nct_truth",
    "patient": {"auc": {"value": 0.75, "low": 0.5, "high": 1.0, "n": 4}, "sensitivity": {"value": None, "n": 0}},
    "threshold": {"value": 1.5, "rule": "specificity"},
}


def results(folder: Path, uri: str, start: bool = True) -> Path:
    """A finished run's files, as the workflow leaves them."""
    fold = folder / "results/train/cpmn/fold-0"
    fold.mkdir(parents=True)
    with (fold / "history.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)
    (fold / "model.safetensors").write_bytes(b"weights")
    write_json(fold / "plan.json", {})
    write_json(folder / "results/evaluate/cpmn/metrics.json", METRICS)
    tags = dict.fromkeys(("cohort", "difficulty", "data_hash", "config_hash", "commit", "version"), "x")
    variants = {"cpmn": {"base": "cpmn", "seed": 3, "settings": {"steps": 8, "patch_size": [16, 16, 16]}}}
    run = {**tags, "cohort": "tiny", "variants": variants, "config": {"a": {"b": 1}}}
    current_track(folder / "results/track.json", run, uri, enabled=start)
    return folder / "results"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An empty migrated database, copied by each test (the migration takes seconds)."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    tags = dict.fromkeys(("cohort", "difficulty", "data_hash", "config_hash", "commit", "version"), "first")
    start_parent({**tags, "uri": f"sqlite:///{path}", "experiment": "first", "config": {}})
    return path


@pytest.fixture
def uri(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(store.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def client(uri):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def runs_by_level(uri):
    found = client(uri)
    experiment = found.get_experiment_by_name("tiny")
    assert experiment is not None
    return {run.data.tags["level"]: run for run in found.search_runs([experiment.experiment_id])}


def fold_history(uri):
    fold = runs_by_level(uri).get("fold")
    return client(uri).get_metric_history(fold.info.run_id, "train_total") if fold else []


def test_runs_hold_parameters_curves_figures_and_model(uri, tmp_path):
    sync_results(results(tmp_path, uri))
    runs = runs_by_level(uri)
    assert set(runs) == {"workflow", "variant", "fold"}
    assert runs["fold"].data.params == {"steps": "8", "patch_size": "[16, 16, 16]"}
    assert runs["fold"].data.tags | {"variant": "cpmn", "seed": "3", "fold": "0"} == runs["fold"].data.tags
    assert runs["fold"].data.tags["mlflow.parentRunId"] == runs["variant"].info.run_id
    assert runs["variant"].data.tags["mlflow.parentRunId"] == runs["workflow"].info.run_id
    assert [(metric.step, metric.value) for metric in fold_history(uri)] == [(1, 2.0), (2, 1.0)]
    assert runs["variant"].data.metrics["patient.auc"] == 0.75
    assert runs["variant"].data.metrics["patient.auc.low"] == 0.5
    artifacts = [item.path for item in client(uri).list_artifacts(runs["fold"].info.run_id, "model")]
    assert "model/model.safetensors" in artifacts


def test_sending_twice_changes_nothing(uri, tmp_path):
    folder = results(tmp_path, uri)
    sync_results(folder)
    sync_results(folder)
    found = client(uri)
    experiment = found.get_experiment_by_name("tiny")
    assert experiment is not None
    assert len(found.search_runs([experiment.experiment_id])) == 3
    assert len(fold_history(uri)) == 2


def test_live_rows_and_the_final_sync_are_one_run(uri, tmp_path):
    folder = results(tmp_path, uri)
    track = json.loads((folder / "track.json").read_text())
    first = LiveFold(track, folder / "train/cpmn/fold-0")
    first.add(ROWS[0])
    deadline = time.monotonic() + 30
    while len(fold_history(uri)) < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    # The first process is killed here; another one resumes the training.
    resumed = LiveFold(track, folder / "train/cpmn/fold-0")
    resumed.add(ROWS[1])
    resumed.finish()
    assert sorted((metric.step, metric.value) for metric in fold_history(uri)) == [(1, 2.0), (2, 1.0)]


def test_a_dead_server_costs_a_warning_and_sync_makes_up_for_it(uri, tmp_path, caplog):
    folder = results(tmp_path, "http://127.0.0.1:9", start=False)
    track = json.loads((folder / "track.json").read_text())
    dead = LiveFold(track | {"run_id": "1", "experiment_id": "1"}, folder / "train/cpmn/fold-0")
    with caplog.at_level(logging.WARNING):
        dead.add(ROWS[0])
        dead.finish()
    assert "cpmn track sync" in caplog.text
    write_json(folder / "track.json", track | {"uri": uri})
    assert sync_results(folder) == 3
    assert runs_by_level(uri)["variant"].data.metrics["patient.auc"] == 0.75


def test_undefined_figures_are_left_out():
    assert flatten_metrics(METRICS) == {
        "patient.auc": 0.75,
        "patient.auc.low": 0.5,
        "patient.auc.high": 1.0,
        "patient.auc.n": 4.0,
        "patient.sensitivity.n": 0.0,
        "threshold": 1.5,
    }


def test_nothing_to_send_is_said(tmp_path):
    with pytest.raises(CpmnError, match=r"track\.json does not exist"):
        sync_results(tmp_path)


def test_a_parent_is_kept_until_data_settings_or_code_change(uri, tmp_path):
    tags = dict.fromkeys(("cohort", "difficulty", "data_hash", "config_hash", "commit", "version"), "x")
    run, path = {**tags, "variants": {}, "config": {}}, tmp_path / "track.json"
    first = current_track(path, run, uri)["run_id"]
    assert current_track(path, run, uri)["run_id"] == first
    found = {first}
    for key in ("data_hash", "config_hash", "commit"):
        run = run | {key: "other"}
        found.add(current_track(path, run, uri)["run_id"])
    assert len(found) == 4


def test_folds_that_start_at_once_share_one_parent(uri, tmp_path):
    tags = dict.fromkeys(("cohort", "difficulty", "data_hash", "config_hash", "commit", "version"), "x")
    run, path = {**tags, "variants": {}, "config": {}}, tmp_path / "track.json"
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: current_track(path, run, uri)["run_id"], range(8)))
    assert len(set(found)) == 1
    assert found[0] is not None
