"""A running training in MLflow: its epochs and the machine's load as they come."""

import logging
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from cpmn.track import server
from cpmn.track.parent import Runs
from cpmn.track.server import harmless, send_rows
from cpmn.track.sync import sync_fold

logger = logging.getLogger(__name__)

SAMPLING_SECONDS = 10  # MLflow's default; MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL overrides it


class LiveFold:
    """Sends a running fold's epochs from a thread of its own, so that a slow server does not slow the training.

    As a context manager it sends the model at the end, and marks the run as failed if the training fails.
    """

    def __init__(self, track: Mapping[str, Any], folder: Path):
        self._track, self._folder = track, folder
        self._rows: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._status = "FINISHED"
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        if track["run_id"]:
            self._thread.start()

    def __enter__(self) -> "LiveFold":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is not None:
            self._status = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        self.finish()

    def add(self, row: Mapping[str, Any]) -> None:
        """Queue one row of `history.csv`; returns at once."""
        self._rows.put(dict(row))

    def finish(self) -> None:
        """Send what is left, the model among it, waiting for a slow server `LONGEST_WAIT_SECONDS` at most."""
        if self._track["run_id"]:
            self._rows.put(None)
            self._thread.join(server.LONGEST_WAIT_SECONDS)
            if self._thread.is_alive():
                logger.warning("MLflow: the server is too slow; `cpmn track sync` sends the rest later")

    def _work(self) -> None:
        with harmless("recording a training"):
            runs = Runs(self._track, self._folder.parents[2])
            variant = self._folder.parent.name
            run_id = runs.fold(variant, self._folder.name.removeprefix("fold-"))
            concerned = (run_id, runs.variant(variant), self._track["run_id"])
            for one in concerned:
                runs.client.update_run(one, status="RUNNING")
            with _system_metrics(run_id, self._track["uri"]):
                self._send_epochs(runs.client, run_id)
            if self._status == "FINISHED":
                sync_fold(self._track, self._folder)
            else:
                for one in concerned:  # those above it are not finished either; what goes on sets them right
                    runs.client.set_terminated(one, self._status)

    def _send_epochs(self, client: Any, run_id: str) -> None:
        """Send rows as they come; those that fail go with the next."""
        waiting: list[dict[str, Any]] = []
        while (row := self._rows.get()) is not None:
            waiting.append(row)
            try:
                send_rows(client, run_id, waiting)
                waiting.clear()
            except Exception as error:
                if len(waiting) == 1:
                    logger.warning("MLflow: recording an epoch failed (%s); trying again with the next one", error)


@contextmanager
def _system_metrics(run_id: str, uri: str) -> Iterator[None]:
    """Record processor, memory, disk, network and, with `nvidia-ml-py`, GPU as `system/...` while inside."""
    monitor = None
    with harmless("starting system metrics"):
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
        monitor = SystemMetricsMonitor(
            run_id, sampling_interval=SAMPLING_SECONDS, resume_logging=True, tracking_uri=uri
        )
        monitor.start()
    try:
        yield
    finally:
        if monitor is not None:
            with harmless("ending system metrics"):
                monitor.finish()
