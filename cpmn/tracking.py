"""Records of runs in MLflow.

`history.csv` and `metrics.json` are the truth; MLflow holds a copy. Every call here may fail without harm: a failure
is logged, and `cpmn track sync` sends later what was not sent. Runs are found by their tags, so that sending twice
changes nothing and a resumed training goes on with its own run.

One experiment per cohort; a parent run per state of configuration, data and code; below it one run per variant, which
holds the final figures, and below that one per fold, which holds the curves and the model.
"""

import csv
import fcntl
import logging
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cpmn.config.root import load_config
from cpmn.errors import CpmnError
from cpmn.files import read_json, sha256_of_json, write_json
from cpmn.runs import describe_run

logger = logging.getLogger(__name__)

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "ALEMBIC_LOGGING_LEVEL": "WARNING",
}.items():
    os.environ.setdefault(_name, _value)

LONGEST_PARAMETER = 6000  # characters; MLflow's limit of a parameter's value
LONGEST_WAIT_SECONDS = 20.0  # our choice: how long a finished training waits for a slow server


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Log any failure inside as a warning: tracking never stops the work it records."""
    try:
        yield
    except Exception as error:
        message = str(error).strip().splitlines()[:1] or [type(error).__name__]
        logger.warning("MLflow: %s failed (%s); `cpmn track sync` sends it later", what, message[0])


def track_of(values: Mapping[str, Any], path: Path | str) -> dict[str, Any]:
    """`current_track` for the configuration's values, with the database in the run's folder as the default store."""
    config = load_config(dict(values))
    uri = config.track.uri or "sqlite:///mlflow.db"
    return current_track(Path(path), describe_run(config), uri, config.track.enabled)


def current_track(path: Path, run: Mapping[str, Any], uri: str, enabled: bool = True) -> dict[str, Any]:
    """The parent run that the present work belongs to, as `track.json` at `path` holds it.

    A new parent is started when data, configuration or code differ from those of the one in the file; a lock keeps
    folds that start at once from starting one each. Without MLflow, `run_id` is None.

    Parameters
    ----------
    run : from `cpmn.runs.describe_run`.
    uri : MLflow address.
    """
    key = sha256_of_json([run["data_hash"], run["config_hash"], run["commit"], uri])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(".track.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        track = read_json(path) if path.is_file() else {}
        if track.get("key") == key and (track["run_id"] or not enabled):
            return track
        track = {**run, "uri": uri, "experiment": run["cohort"], "experiment_id": None, "run_id": None, "key": key}
        if enabled:
            with harmless("starting a run"):
                track |= start_parent(track)
        write_json(path, track)
        return track


def start_parent(track: Mapping[str, Any]) -> dict[str, Any]:
    """Create the experiment (artifacts in `mlartifacts/`) if need be, and a parent run; their ids."""
    client, name = _client(track["uri"]), track["experiment"]
    found = client.get_experiment_by_name(name)
    location = Path("mlartifacts").absolute().as_uri()
    experiment_id = found.experiment_id if found else client.create_experiment(name, artifact_location=location)
    tags = {**run_tags(track), "level": "workflow"}
    run = client.create_run(experiment_id, run_name=f"{name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}", tags=tags)
    _log_parameters(client, run.info.run_id, track["config"])
    return {"experiment_id": experiment_id, "run_id": run.info.run_id}


def run_tags(track: Mapping[str, Any], variant: str | None = None) -> dict[str, str]:
    """Tags that a developer filters runs by: those of the workflow, and with `variant` those of the variant."""
    shared = {key: str(track[key]) for key in ("cohort", "difficulty", "data_hash", "config_hash", "commit", "version")}
    if variant is None:
        return shared
    record = track["variants"][variant]
    return {**shared, "variant": variant, "base": record["base"], "seed": str(record["seed"])}


def sync_fold(track: Mapping[str, Any], folder: Path) -> None:
    """Send a finished fold, `results/train/{variant}/fold-{k}`: missing rows of `history.csv` and the model files."""
    client = _client(track["uri"])
    run_id = _fold_run(client, track, folder.parent.name, folder.name.removeprefix("fold-"))
    with (folder / "history.csv").open(newline="", encoding="utf-8") as stream:
        _send_rows(client, run_id, list(csv.DictReader(stream)))
    if not client.list_artifacts(run_id, "model"):
        for file in ("model.safetensors", "plan.json", "history.csv"):
            client.log_artifact(run_id, str(folder / file), "model")
    client.set_terminated(run_id)


def sync_variant(track: Mapping[str, Any], folder: Path) -> None:
    """Send a variant's final figures and tables; `folder` is `results/evaluate/{variant}`."""
    client = _client(track["uri"])
    run_id = _variant_run(client, track, folder.name)
    _log_batch(client, run_id, flatten_metrics(read_json(folder / "metrics.json")), 0)
    for file in ("metrics.json", "patients.csv", "decision.json", "roc.csv"):
        if (folder / file).is_file():
            client.log_artifact(run_id, str(folder / file), "evaluate")
    client.set_terminated(run_id)


def sync_report(track: Mapping[str, Any], folder: Path) -> None:
    """Attach the report to the parent run and end it."""
    client = _client(track["uri"])
    client.log_artifacts(track["run_id"], str(folder), "report")
    client.set_terminated(track["run_id"])


def sync_results(results: Path) -> int:
    """Send everything under `results` that the server does not have; returns the number of runs sent.

    Raises CpmnError where there is nothing to send, and whatever MLflow raises if it is still out of reach.
    """
    path = results / "track.json"
    if not path.is_file():
        raise CpmnError(f"{path} does not exist: run snakemake first, or give --results.")
    track = read_json(path)
    if not track["run_id"]:
        track |= start_parent(track)
        write_json(path, track)
    folds = sorted(model.parent for model in results.glob("train/*/fold-*/model.safetensors"))
    variants = sorted(metrics.parent for metrics in results.glob("evaluate/*/metrics.json"))
    for folder in folds:
        sync_fold(track, folder)
    for folder in variants:
        sync_variant(track, folder)
    if (results / "report" / "index.html").is_file():
        sync_report(track, results / "report")
    return len(folds) + len(variants) + 1


def flatten_metrics(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """`metrics.json` as dotted names: `patient.auc` is the value, `patient.auc.low` and `.high` its interval."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten_metrics(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[name.removesuffix(".value")] = float(value)
    return flat


class LiveFold:
    """Sends a running fold's epochs from a thread of its own, so that a slow server does not slow the training."""

    def __init__(self, track: Mapping[str, Any], folder: Path):
        self._track, self._folder = track, folder
        self._rows: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        if track["run_id"]:
            self._thread.start()

    def add(self, row: Mapping[str, Any]) -> None:
        """Queue one row of `history.csv`; returns at once."""
        self._rows.put(dict(row))

    def finish(self) -> None:
        """Send what is left, the model among it, waiting for a slow server `LONGEST_WAIT_SECONDS` at most."""
        if self._track["run_id"]:
            self._rows.put(None)
            self._thread.join(LONGEST_WAIT_SECONDS)
            if self._thread.is_alive():
                logger.warning("MLflow: the server is too slow; `cpmn track sync` sends the rest later")

    def _work(self) -> None:
        with harmless("recording a training"):
            client = _client(self._track["uri"])
            run_id = _fold_run(client, self._track, self._folder.parent.name, self._folder.name.removeprefix("fold-"))
            while (row := self._rows.get()) is not None:
                with harmless("recording an epoch"):
                    _send_rows(client, run_id, [row])
            sync_fold(self._track, self._folder)


def _client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _variant_run(client: Any, track: Mapping[str, Any], variant: str) -> str:
    """Run id of a variant, below the workflow's run."""
    tags = {**run_tags(track, variant), "level": "variant"}
    return _child(client, track, track["run_id"], variant, tags, track["variants"][variant]["settings"])


def _fold_run(client: Any, track: Mapping[str, Any], variant: str, fold: str) -> str:
    """Run id of a fold, below its variant's run."""
    parent = _variant_run(client, track, variant)
    tags = {**run_tags(track, variant), "level": "fold", "fold": fold}
    return _child(client, track, parent, f"{variant} fold-{fold}", tags, track["variants"][variant]["settings"])


def _child(
    client: Any, track: Mapping[str, Any], parent: str, name: str, tags: Mapping[str, str], settings: Mapping[str, Any]
) -> str:
    """Run id of the child of `parent` called `name`; created with its parameters if it is not there."""
    query = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.run_name = '{name}'"
    found = client.search_runs([track["experiment_id"]], filter_string=query, max_results=1)
    if found:
        return found[0].info.run_id
    run = client.create_run(track["experiment_id"], run_name=name, tags={**tags, "mlflow.parentRunId": parent})
    _log_parameters(client, run.info.run_id, settings)
    return run.info.run_id


def _send_rows(client: Any, run_id: str, rows: list[dict[str, Any]]) -> None:
    """Send rows of `history.csv` that the server does not have yet; empty cells are no measurement."""
    sent = {metric.step for metric in client.get_metric_history(run_id, "epoch")}
    for row in rows:
        step = int(float(row["epoch"]))
        if step not in sent:
            values = {key: float(value) for key, value in row.items() if value not in ("", None)}
            _log_batch(client, run_id, values, step)


def _log_batch(client: Any, run_id: str, values: Mapping[str, float], step: int) -> None:
    from mlflow.entities import Metric

    now = int(datetime.now(UTC).timestamp() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])


def _log_parameters(client: Any, run_id: str, settings: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    flat = _flatten(settings)
    client.log_batch(run_id, params=[Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in flat.items()][:100])


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
