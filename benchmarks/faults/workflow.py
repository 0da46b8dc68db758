"""A whole workflow that is killed at any moment, and one whose clock is moved: results are those of an undisturbed run.

The tiny cohort. All patients but one are preprocessed beforehand, so that a kill falls on every stage alike.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.faults.outcome import Outcome
from cpmn.files import sha256_of_files

PROJECT = Path(__file__).parents[2]
SAME = ("results/*/*/*.nii.gz", "results/train/**/model.safetensors", "results/evaluate/**/*.nii.gz")
SAME += ("results/evaluate/*/patients.csv", "results/train/splits.json")
NEWCOMER = "phantom-001"
MADE_OF_ALL = (NEWCOMER, "train", "evaluate", "report", "*.csv", "track.json")
DAY = 86_400.0
LONGEST_SECONDS = 1800.0

Digests = dict[str, str]


def measure_workflow(times: int, seed: int) -> Iterator[tuple[str, str, Outcome]]:
    """Kind of trouble, number and outcome: `times` kills of the workflow and its jobs, and a clock moved each way."""
    random = np.random.default_rng([seed, 7])
    with tempfile.TemporaryDirectory() as name:
        whole, start = Path(name) / "whole", Path(name) / "start"
        whole.mkdir()
        _finish(whole)
        _begun(whole, start)
        seconds, expected = _timed(shutil.copytree(start, Path(name) / "timed")), _digests(whole)
        kills = 0
        while kills < times:
            folder = Path(shutil.copytree(start, Path(name) / "killed"))
            if _kill(folder, float(random.uniform(0, seconds))):
                yield "kill -9, workflow", f"{seed}/{kills}", _judged(folder, expected)
                kills += 1
            shutil.rmtree(folder)
        for days in (-1, 1):
            moved = Path(shutil.copytree(whole, Path(name) / "moved"))
            yield f"clock moved by {days:+d} day, workflow", f"{seed}", _moved(moved, days * DAY, expected)
            shutil.rmtree(moved)


def _command(folder: Path, *arguments: str) -> list[str]:
    start = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--directory", str(folder)]
    return [
        *start,
        "--snakefile",
        str(PROJECT / "workflow/Snakefile"),
        "--configfile",
        str(PROJECT / "config/tiny.yaml"),
    ]


def _run(folder: Path, *arguments: str) -> tuple[int, str]:
    out, both = subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(_command(folder, *arguments), stdout=out, stderr=both, text=True, timeout=LONGEST_SECONDS)
    return done.returncode, done.stdout


def _finish(folder: Path) -> None:
    code, said = _run(folder)
    if code:
        raise RuntimeError(f"an undisturbed run fails:\n{said[-3000:]}")


def _begun(whole: Path, folder: Path) -> None:
    """A copy of a run that lacks one patient and all that is made of all patients together."""
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns(*MADE_OF_ALL))


def _timed(folder: Path) -> float:
    began = time.monotonic()
    _finish(folder)
    return time.monotonic() - began


def _kill(folder: Path, seconds: float) -> bool:
    """Start the workflow and kill it after `seconds`; False if it had ended by then."""
    quiet = subprocess.DEVNULL
    started = subprocess.Popen(_command(folder), stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        started.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
    return started.wait() == -signal.SIGKILL


def _moved(folder: Path, seconds: float, expected: Digests) -> Outcome:
    """All files of a finished run get another date, as if the clock had been moved after it."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            then = path.stat().st_mtime + seconds
            os.utime(path, (then, then))
    return _judged(folder, expected)


def _judged(folder: Path, expected: Digests) -> Outcome:
    try:
        _run(folder, "--unlock")
        code, said = _run(folder)
    except subprocess.TimeoutExpired:
        return Outcome("hang")
    if "Traceback" in said:
        return Outcome("traceback", said[-3000:])
    if code:
        return Outcome("lost", said[-3000:])
    found = _digests(folder)
    differ = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    return Outcome("lost", f"{len(differ)} files differ: {sorted(differ)[:5]}") if differ else Outcome("unchanged")


def _digests(folder: Path) -> Digests:
    return {str(path.relative_to(folder)): sha256_of_files([path]) for shape in SAME for path in folder.glob(shape)}
