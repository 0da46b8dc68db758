"""A machine that fails while a scan is converted: killed, a full disk, too little memory, too few open files.

Nobody may be left out for it, nothing be left behind, and the same work repeated must give the same bytes.
"""

import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.faults.outcome import FORK, Outcome, judged, limit_to, outcome
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_patient
from cpmn.files import sha256_of_files
from cpmn.job.status import read_status, run_patient_stage

Limit = Callable[[np.random.Generator], None]


def convert(source: Path, folder: Path) -> None:
    """The job `convert` of one patient without CTPA, with `on_bad_patient: exclude`."""
    patient = Patient.model_validate({"patient_id": "p1", "nct": source, "label": 0})
    run_patient_stage(
        lambda: convert_patient(patient, folder, ConvertConfig()),
        stage="convert",
        patient="p1",
        outputs=[folder / "nct.nii.gz", folder / "nct.json"],
        status_path=folder / "status.json",
        on_bad_patient="exclude",
    )


def full_disk(random: np.random.Generator) -> None:
    """Files cannot grow beyond some size: their writers fail as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit_to(resource.RLIMIT_FSIZE, int(10 ** random.uniform(1, 5.5)))


def little_memory(random: np.random.Generator) -> None:
    """From nothing to 200 MB beyond what the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(random.uniform(0, 200e6))
    limit_to(resource.RLIMIT_AS, most)


def few_files(random: np.random.Generator) -> None:
    """From 0 to 5 files more than are open."""
    opened = max(int(name) for name in os.listdir("/proc/self/fd")) + 1  # noqa: PTH208
    limit_to(resource.RLIMIT_NOFILE, opened + int(random.integers(6)))


LIMITS: dict[str, Limit] = {"full disk": full_disk, "little memory": little_memory, "few open files": few_files}


def under_limit(source: Path, folder: Path, limit: Limit, seed: int, expected: str) -> Outcome:
    """What becomes of the job under a limit, and of its repetition without."""

    def case() -> Outcome:
        limit(np.random.default_rng(seed))
        convert(source, folder)
        return Outcome("unchanged" if read_status(folder / "status.json")["passed"] else "lost", "excluded")

    return _repeated(outcome(case), source, folder, expected)


def killed(source: Path, folder: Path, seconds: float, expected: str) -> Outcome:
    """Kill the job after `seconds`, then repeat it."""
    process = FORK.Process(target=convert, args=(source, folder), daemon=True)
    process.start()
    time.sleep(seconds)
    process.kill()
    process.join()
    status = folder / "status.json"
    done = status.is_file() and read_status(status)["passed"]
    lost = Outcome("lost", "excluded by a kill") if status.is_file() and not done else Outcome("unchanged")
    return _repeated(lost, source, folder, expected)


def _repeated(first: Outcome, source: Path, folder: Path, expected: str) -> Outcome:
    """`first`, or what is worse: a repetition that fails or gives other bytes."""
    if first.kind in ("lost", "hang"):
        return first
    again = judged(lambda: (convert(source, folder), Outcome("unchanged"))[1])
    if again.kind != "unchanged" or digest(folder) != expected:
        return Outcome("lost", f"after {first}: {again}")
    return first


def digest(folder: Path) -> str:
    """Hash of the job's results."""
    return sha256_of_files([folder / name for name in ("nct.nii.gz", "nct.json", "status.json")])


def measure_machine(sources: dict[str, Path], times: int, seed: int) -> Iterator[tuple[str, str, Outcome]]:
    """Kind of trouble, number and outcome: `times` of each for each source."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wholes = {what: _whole(source, folder / what) for what, source in sources.items()}
        for number in range(times):
            for what, source in sources.items():
                where, (seconds, expected) = folder / f"{what}-{number}", wholes[what]
                for label, limit in LIMITS.items():
                    one = under_limit(source, where / label, limit, seed + number, expected)
                    yield f"{label}, {what}", f"{seed}/{number}", one
                moment = float(np.random.default_rng([seed, number]).uniform(0, seconds))
                yield f"kill -9, {what}", f"{seed}/{number}", killed(source, where / "kill", moment, expected)
                shutil.rmtree(where, ignore_errors=True)


def _whole(source: Path, folder: Path) -> tuple[float, str]:
    """Seconds and hash of an undisturbed job."""
    began = time.monotonic()
    convert(source, folder)
    return time.monotonic() - began, digest(folder)
