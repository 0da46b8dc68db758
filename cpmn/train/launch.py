"""Training a fold in this process, or in several that `torchrun` starts."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cpmn
from cpmn.errors import CpmnError
from cpmn.files import remove_unfinished
from cpmn.train.fold import FoldJob
from cpmn.train.stage import train_fold
from cpmn.train.training import Row

ROWS_FILE = "rows.jsonl"
POLL_SECONDS = 1.0


def launch_fold(job: FoldJob, on_epoch: Callable[[Row], None]) -> None:
    """`train_fold` in as many processes as the configuration says, which share the job's threads.

    Raises CpmnError if a process fails; the reasons stand in the log above.
    """
    remove_unfinished(job.folder)
    processes = job.config.machine.processes
    if processes == 1:
        train_fold(job, on_epoch=on_epoch)
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "job.json"
        own = job.model_copy(update={"threads": max(1, job.threads // processes)})
        path.write_text(own.model_dump_json(), encoding="utf-8")
        logs = [one.baseFilename for one in logging.getLogger().handlers if isinstance(one, logging.FileHandler)]
        # they hold the other end of this pipe, which closes however this process ends: they end with it
        process = subprocess.Popen(_torchrun(processes, path, logs), env=_environment(), stdin=subprocess.PIPE)
        try:
            for row in _rows(path.with_name(ROWS_FILE), process):
                on_epoch(row)
        finally:
            process.terminate()
            process.wait()
    if process.returncode:
        raise CpmnError(f"training in {processes} processes failed (exit code {process.returncode}): see above.")


def _torchrun(processes: int, path: Path, logs: Sequence[str]) -> list[str]:
    options = ["--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, "-m", "torch.distributed.run", *options, "-m", "cpmn.train", str(path), *logs]


def _environment() -> dict[str, str]:
    """The processes import this very package, also where it is not installed."""
    paths = [str(Path(cpmn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _rows(path: Path, process: subprocess.Popen[bytes]) -> Iterator[Row]:
    """Rows of the history as the first process writes them, until the processes end."""
    seen, running = 0, True
    while running:
        try:
            process.wait(POLL_SECONDS)
            running = False
        except subprocess.TimeoutExpired:
            pass
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        yield from map(json.loads, lines[seen:])
        seen = len(lines)
