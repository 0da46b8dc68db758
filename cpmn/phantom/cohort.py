"""Generating a whole cohort: in parallel processes, going on where an interrupted run stopped."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

from cpmn.cohort.phantom import phantom_rows
from cpmn.config.phantom import PhantomConfig
from cpmn.errors import CpmnError
from cpmn.phantom.stage import is_finished, refuse_other_cohort, settings_key, write_cohort, write_patient, write_truth

AHEAD = 4  # patients given out per process: enough to keep it busy, few enough to stop soon


def make_cohort(
    config: PhantomConfig,
    folder: Path,
    *,
    jobs: int = 1,
    truth_only: bool = False,
    done: Callable[[str, bool], None] = lambda patient, made: None,
) -> None:
    """Write every patient of a cohort into `folder`, then its `cohort.csv`.

    Parameters
    ----------
    jobs : processes; each holds one patient (0.7 GB at the size of `config/benchmark.yaml`).
    truth_only : NCT and truth as NIfTI instead of DICOM of both phases; see `write_truth`.
    done : called with each patient's id, and whether it was made now (False: found finished with the same settings).

    Raises CpmnError when a process was killed, where finished patients stay and the same call makes the others, and if
    `folder` holds another cohort.
    """
    folder = Path(folder)
    refuse_other_cohort(folder)
    names = [row["patient_id"] for row in phantom_rows(config)]
    settings = settings_key(config, truth_only)
    missing = [name for name in names if not is_finished(folder / name, settings)]
    for name in sorted(set(names) - set(missing)):
        done(name, False)
    for name in _made(config, folder, missing, jobs, truth_only):
        done(name, True)
    write_cohort(config, folder, truth_only)


def _made(config: PhantomConfig, folder: Path, names: list[str], jobs: int, truth_only: bool) -> Iterator[str]:
    if jobs == 1 or len(names) < 2:
        for name in names:
            yield _make(config, name, folder / name, truth_only)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when a new process loads numpy
    waiting = iter(names)
    spawn, count = get_context("spawn"), min(jobs, len(names))
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_end_with_parent) as pool:
        running: set[Future[str]] = set()
        try:
            while True:
                for name in islice(waiting, AHEAD * jobs - len(running)):
                    running.add(pool.submit(_make, config, name, folder / name, truth_only))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        except BrokenProcessPool as error:
            raise CpmnError(
                "a process of the phantom was killed, most likely because memory ran out. Repeat the command with "
                "fewer --jobs: finished patients are kept."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let this process end when the command is killed: else it makes what it was given, and then waits for ever."""

    def wait_and_end(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    if (parent := parent_process()) is not None:
        Thread(target=wait_and_end, args=(parent,), daemon=True).start()


def _make(config: PhantomConfig, name: str, folder: Path, truth_only: bool) -> str:
    (write_truth if truth_only else write_patient)(config, name, folder)
    return name
