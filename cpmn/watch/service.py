"""The service: takes scans in, keeps one worker alive, and stops cleanly."""

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import Any

from cpmn.errors import CpmnError
from cpmn.job.logs import USER_ERROR
from cpmn.watch.http import ArchiveError
from cpmn.watch.listener import listen
from cpmn.watch.orthanc import Orthanc
from cpmn.watch.sending import sender
from cpmn.watch.spool import Spool
from cpmn.watch.worker import Read, Work, model_reader, run_worker

logger = logging.getLogger(__name__)

TICK_S = 1.0
GRACE_S = 600.0  # for the study in hand at a stop; our choice: a CPU reads one in some minutes


def watch(
    work: Work,
    *,
    stable_s: float,
    port: int | None = None,
    host: str = "127.0.0.1",
    allowed: Sequence[str] = (),
    orthanc: str = "",
    new_only: bool = False,
    once: bool = False,
    stop: threading.Event | None = None,
    reader: Callable[[Work], Read] = model_reader,
) -> int:
    """Serve until SIGTERM, SIGINT or `stop`; with `once` until everything that is there has been read.

    Returns how many studies were given up meanwhile, also those that were tried again.

    Parameters
    ----------
    stable_s : seconds without a new file after which a study counts as complete.
    port, host, allowed : of a DICOM listener; `allowed` are the titles that may send.
    orthanc, new_only : address of an Orthanc that is asked for stable studies, and whether to pass over those that
        it holds already.
    reader : makes the function that reads a study, in the worker's process.

    Raises CpmnError if another service works in the folder, or if the port or the model cannot be had.
    """
    stop = stop or threading.Event()
    for target in work.targets:
        sender(target, title=work.title)  # a wrong one is an error now, not after the first reading
    spool = work.spool()
    with spool.locked():
        _stop_on_signals(stop)
        source = Orthanc(orthanc, spool, new_only) if orthanc else None
        server = listen(spool, host=host, port=port, title=work.title, allowed=allowed) if port is not None else None
        worker = _Worker(work, reader)
        spool.audit.write("service started")
        before = spool.given_up()
        try:
            while not stop.is_set():
                all_given = take_in(spool, source, stable_s if port is not None else 0.0)
                _revive(worker, spool)
                if once and all_given and spool.idle():
                    break
                stop.wait(TICK_S)
        finally:
            if server is not None:
                server.shutdown()
            worker.stop()
            spool.audit.write("service stopped")
    return len(spool.given_up().items() - before.items())


def _revive(worker: "_Worker", spool: Spool) -> None:
    """Start the worker again where it ended; at the next tick where a full disk or machine refuses it."""
    try:
        worker.revive(spool)
    except OSError as error:
        logger.error("the worker could not be started: %s. It is tried again.", error.strerror)


class _Worker:
    """The worker's process, which is started again when it ends."""

    def __init__(self, work: Work, reader: Callable[[Work], Read]):
        self._arguments, self._context = (work, reader), get_context("spawn")
        self._stop = self._context.Event()
        self._process: Any = None
        self.start()

    def start(self) -> None:
        work, reader = self._arguments
        process = self._context.Process(target=run_worker, args=(work, self._stop, reader), name="cpmn-worker")
        process.start()
        self._process = process

    def revive(self, spool: Spool) -> None:
        """Start it again where it ended; what it was reading goes back to the queue.

        Raises CpmnError where the worker says that it cannot work at all: it would say so again and again.
        """
        if self._process.is_alive():
            return
        spool.audit.write("worker ended")
        if self._process.exitcode == USER_ERROR:
            raise CpmnError("the worker cannot start; what it said stands above. Correct it, and start again.")
        self.start()

    def stop(self) -> None:
        """Let it finish what it reads; what takes longer than `GRACE_S` is read again at the next start."""
        self._stop.set()
        self._process.join(GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def take_in(spool: Spool, source: Orthanc | None, stable_s: float) -> bool:
    """Ask the archive, if there is one, and queue what is complete; whether the archive has given all that it has.

    A study of which it has given a part is not queued before the rest has come.
    """
    all_given = True
    if source is not None:
        try:
            all_given = source.poll()
        except ArchiveError as error:
            logger.warning("%s", error)
            all_given = False
        except OSError as error:  # of our own disk; its text may name a file
            logger.error("a study could not be kept: %s. It is tried again.", error.strerror)
            all_given = False
    spool.settle(stable_s, but=source.pending if source else "")
    return all_given


def _stop_on_signals(stop: threading.Event) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: stop.set())
