"""Talking to MLflow without harm: bounded calls, and numbers, parameters and files that are sent once."""

import fcntl
import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cpmn.config.keys import dotted
from cpmn.files import sha256_of_files, sha256_of_json

logger = logging.getLogger(__name__)

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "ALEMBIC_LOGGING_LEVEL": "WARNING",
}.items():
    os.environ.setdefault(_name, _value)

LONGEST_PARAMETER = 6000  # characters; MLflow's limit of a parameter's value
PARAMETERS_AT_ONCE, METRICS_AT_ONCE = 100, 1000  # MLflow's limits of one request
LONGEST_WAIT_SECONDS = float(os.environ.get("CPMN_TRACK_WAIT_SECONDS", "30"))
"""How long a finished job waits for a slow server. 30 s are our choice; a machine that is very busy needs more."""

Row = Mapping[str, Any]
LOSS = "train_total"  # the column of `history.csv` by which a curve is known again


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Log any failure inside as a warning: tracking never stops the work it records."""
    try:
        yield
    except Exception as error:
        message = str(error).strip().splitlines()[:1] or [type(error).__name__]
        logger.warning("MLflow: %s failed (%s); `cpmn track sync` sends it later", what, message[0])


def attempt(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Result of the call, or None with a warning where it fails or takes more than `LONGEST_WAIT_SECONDS`.

    The call goes on in a thread of its own, which ends with the process.
    """
    results: list[Any] = []

    def work() -> None:
        with harmless(what):
            results.append(function(*arguments))

    thread = threading.Thread(target=work, name="mlflow", daemon=True)
    thread.start()
    thread.join(LONGEST_WAIT_SECONDS)
    if thread.is_alive():
        logger.warning("MLflow: the server is too slow for %s; `cpmn track sync` sends it later", what)
    return results[0] if results else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time per lock file `path`: folds that start at once must not create the same run twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        with suppress(OSError):  # a file system without locks: at worst a run stands there twice
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def connect(uri: str) -> Any:
    """MLflow client for a tracking address."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def run_each(steps: Iterable[Callable[[], object]]) -> None:
    """Run every step, also after one that fails; then raise the first error."""
    errors = []
    for step in steps:
        try:
            step()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]


def send_parameters(client: Any, run: Any, settings: Mapping[str, Any]) -> None:
    """Send nested settings as dotted names, those that `run` has not got."""
    from mlflow.entities import Param

    values = {key: str(value)[:LONGEST_PARAMETER] for key, value in dotted(settings).items()}
    missing = [Param(key, value) for key, value in values.items() if key not in run.data.params]
    for first in range(0, len(missing), PARAMETERS_AT_ONCE):
        client.log_batch(run.info.run_id, params=missing[first : first + PARAMETERS_AT_ONCE])


def send_rows(client: Any, run_id: str, rows: Sequence[Row]) -> None:
    """Send rows of `history.csv` that the run has not got, at the optimiser step that each row names.

    The optimiser step means the same in every variant, whatever the length of its epochs. Empty cells are no
    measurement.
    """
    sent = {metric.step for metric in client.get_metric_history(run_id, "epoch")}
    new = {step: row for row in rows if (step := int(float(row["step"]))) not in sent}
    batch: list[Any] = []
    for step, row in new.items():
        values = {key: float(value) for key, value in row.items() if value not in ("", None)}
        if len(batch) + len(values) > METRICS_AT_ONCE:
            client.log_batch(run_id, metrics=batch)
            batch = []
        batch += _metrics(values, step)
    if batch:
        client.log_batch(run_id, metrics=batch)


def has_other_curve(client: Any, run_id: str, rows: Sequence[Row]) -> bool:
    """Whether the run holds another loss than `rows` of `history.csv` at one of their steps."""
    sent = {metric.step: metric.value for metric in client.get_metric_history(run_id, LOSS)} if rows else {}
    own = {int(float(row["step"])): float(row[LOSS]) for row in rows if row.get(LOSS)}
    return any(not math.isclose(own[step], sent[step], rel_tol=1e-9) for step in own.keys() & sent.keys())


def send_figures(client: Any, run_id: str, values: Mapping[str, float]) -> None:
    """Send final figures, those that the run has not got with the same value."""
    there = client.get_run(run_id).data.metrics
    new = _metrics({key: value for key, value in values.items() if there.get(key) != value}, 0)
    for first in range(0, len(new), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=new[first : first + METRICS_AT_ONCE])


def send_files(client: Any, run_id: str, folder: str, files: Iterable[Path]) -> None:
    """Attach files to a run as `folder`/{name}, unless the run has them with the same contents.

    `folder` is empty for the top, where alone MLflow's comparison of runs finds files to show side by side. A tag of
    the run holds the hash of what was sent.
    """
    files = [file for file in files if file.is_file()]
    tag = f"mlflow.cpmn.sent.{folder or 'files'}"  # MLflow shows no tags of this prefix in its tables
    content = sha256_of_json({file.name: sha256_of_files([file]) for file in files})
    if not files or client.get_run(run_id).data.tags.get(tag) == content:
        return
    for file in files:
        client.log_artifact(run_id, str(file), folder or None)
    client.set_tag(run_id, tag, content)


def end(client: Any, run_id: str) -> None:
    """Mark a run as finished; one that is keeps the time at which it ended."""
    if client.get_run(run_id).info.status != "FINISHED":
        client.set_terminated(run_id)


def _metrics(values: Mapping[str, float], step: int) -> list[Any]:
    from mlflow.entities import Metric

    now = int(datetime.now(UTC).timestamp() * 1000)
    return [Metric(name, value, now, step) for name, value in values.items()]
