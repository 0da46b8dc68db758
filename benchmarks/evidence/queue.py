"""Running what is missing: a few jobs at once, each in a process of its own, with a log of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.evidence.jobs import Job
from benchmarks.evidence.plan import PROJECT, data_root

POLL_SECONDS = 5.0
NICENESS = 5


def next_job(jobs: Sequence[Job], running: set[str], failed: set[str]) -> Job | None:
    """The first job that is not done and whose needs are; None if there is none to start now."""
    done = {job.name for job in jobs if job.name not in running and job.is_done()}
    for job in jobs:
        waiting = job.name not in done | running | failed
        if waiting and all(need in done for need in job.needs):
            return job
    return None


def run_all(
    read_jobs: Callable[[], Sequence[Job]], start: Callable[[str], subprocess.Popen], poll: float = POLL_SECONDS
) -> set[str]:
    """Start jobs until none is left to start; returns the names of those that failed, which are not tried again.

    read_jobs : the jobs of the plan as it is now.
    start : starts a job's process.
    """
    running: dict[str, subprocess.Popen] = {}
    try:
        return _until_nothing_is_left(read_jobs, start, running, poll)
    finally:  # when stopped, leave no job behind that a new queue would not know of
        for process in running.values():
            process.terminate()


def _until_nothing_is_left(
    read_jobs: Callable[[], Sequence[Job]],
    start: Callable[[str], subprocess.Popen],
    running: dict[str, subprocess.Popen],
    poll: float,
) -> set[str]:
    failed: set[str] = set()
    while True:
        for name in [name for name, process in running.items() if process.poll() is not None]:
            code = running.pop(name).returncode
            done = next((job.is_done() for job in read_jobs() if job.name == name), True)
            well = code == 0 and done  # one that leaves its work undone would come again for ever
            report(f"{'done' if well else f'FAILED ({code})'}: {name}")
            failed |= set() if well else {name}
        job = next_job(read_jobs(), set(running), failed) if len(running) < cores() else None
        if job is not None:
            report(f"start: {job.name}")
            running[job.name] = start(job.name)
        elif not running:
            return failed
        else:
            time.sleep(poll)


def start_process(name: str) -> subprocess.Popen:
    """`python -m benchmarks evidence job NAME`, on one thread, with low priority, logged under `logs/`."""
    log = log_folder() / f"{name.replace('/', '-').replace(' ', '_')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "MKL_NUM_THREADS"), "1")
    command = ["nice", "-n", str(NICENESS), sys.executable, "-m", "benchmarks", "evidence", "job", name]
    with log.open("a") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, env=os.environ | threads, cwd=PROJECT)


def cores() -> int:
    """Jobs at once: what the file `CORES` of the data folder says, else the machine's processors."""
    path = data_root() / "CORES"
    return int(path.read_text().strip()) if path.is_file() else os.cpu_count() or 1


def report(line: str) -> None:
    """Print a line with the time."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


def log_folder() -> Path:
    """Where each job's log lies."""
    return data_root() / "logs"
