"""The process that reads: one study after another, its libraries loaded once."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from cpmn.errors import CpmnError
from cpmn.files import read_json
from cpmn.job.logs import USER_ERROR
from cpmn.watch.http import ArchiveError
from cpmn.watch.sending import sender
from cpmn.watch.spool import LOOK_S, QueuedStudy, Spool

logger = logging.getLogger(__name__)

Read = Callable[[Path, Path], object]


@dataclass(frozen=True)
class Work:
    """What the worker is told: the spool and its limits, the model, and where results go (`cpmn.watch.sending`)."""

    folder: Path
    model: Path | str
    variant: str
    device: str
    targets: tuple[str, ...]
    title: str
    identity: bool
    retries: int
    pause_s: float

    def spool(self) -> Spool:
        """The queue that this work is taken from."""
        return Spool(self.folder, retries=self.retries, pause_s=self.pause_s)


def model_reader(work: Work) -> Read:
    """A function that reads a folder of files by the model of `work` and writes results, as `cpmn predict` does."""
    from cpmn.predict.model import load_model  # loads torch, in this process alone

    model = load_model(work.model, work.variant, work.device)
    return lambda files, output: model.predict(files, output, dicom=True, identity=work.identity)


def run_worker(work: Work, stop: Event, reader: Callable[[Work], Read] = model_reader) -> None:
    """Read studies until `stop` is set, or until the service that started this process is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the service says when to stop: after the study in hand
    spool, parent = work.spool(), os.getppid()
    try:
        read = reader(work)
        senders = {target: sender(target, title=work.title) for target in work.targets}
    except CpmnError as error:
        print(f"cpmn: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    with spool.one_worker(stop.wait) as alone:
        if not alone:
            return
        spool.recover()
        spool.audit.write("worker started", pid=os.getpid())
        while not stop.is_set() and os.getppid() == parent:
            study = spool.claim()
            if study is None:
                stop.wait(LOOK_S)
            else:
                serve(spool, study, read, senders)


def serve(spool: Spool, study: QueuedStudy, read: Read, senders: dict[str, Callable]) -> None:
    """Read one study and send the results. What goes wrong is noted, and never ends the worker."""
    began = time.monotonic()
    try:
        if not study.read:
            read(study.files, study.results)
            spool.was_read(study)
        _send(spool, study, senders)
        spool.finish(study, [target.partition(":")[0].partition("@")[0] for target in senders])
        logger.info("study %s was read in %.1f s", study.key, time.monotonic() - began)
    except Exception as error:
        logger.warning("study %s: %s", study.key, type(error).__name__)
        at_fault = isinstance(error, CpmnError) and not isinstance(error, ArchiveError)
        spool.fail(study, _reason(error, study.results / "error.json"), again=not at_fault)


def _send(spool: Spool, study: QueuedStudy, senders: dict[str, Callable]) -> None:
    """Send the results to each target that has none. Raises the first ArchiveError once all others were tried."""
    failed = []
    for target, send in senders.items():
        if target not in study.sent:
            try:
                send(sorted(study.results.glob("*.dcm")))
                spool.was_sent(study, target)
            except ArchiveError as error:
                failed.append(error)
    if failed:
        raise failed[0]


def _reason(error: Exception, record: Path) -> dict[str, Any]:
    """The reader's own record of a failure, else what kind of error it was: its text may quote the scan."""
    if isinstance(error, ArchiveError):
        return {"kind": "archive", "problem": str(error)}
    if record.is_file():
        return read_json(record)
    return {"kind": "call" if isinstance(error, CpmnError) else "unexpected", "problem": type(error).__name__}
