"""One trial: the same job by our code and by a library, which take turns on one thread."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

REPEATS = 7


@dataclass(frozen=True)
class Trial:
    """A job that `ours` and `theirs` both do.

    package : what the library's time to load is that of, beyond numpy, scipy, torch and SimpleITK.
    difference : largest difference of both results, in `unit`; None where they answer different questions.
    taken : whether the project uses the library; `why` says the reason in a few words.
    """

    job: str
    library: str
    package: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    taken: bool
    why: str
    difference: Callable[[Any, Any], float] | None = None
    unit: str = ""


def row(trial: Trial) -> dict[str, Any]:
    """Run one trial; the first run of each, which loads and compiles, is not counted."""
    found = (trial.ours(), trial.theirs())
    pairs = np.array([[_ms(trial.ours), _ms(trial.theirs)] for _ in range(REPEATS)])
    ratios = pairs[:, 1] / pairs[:, 0]
    return {
        "job": trial.job,
        "library": trial.library,
        "difference": float(f"{trial.difference(*found):.2g}") if trial.difference else None,
        "unit": trial.unit,
        "ours_ms": _short(np.median(pairs[:, 0])),
        "library_ms": _short(np.median(pairs[:, 1])),
        "ratio": _short(np.median(ratios)),
        "ratio_low": _short(ratios.min()),
        "ratio_high": _short(ratios.max()),
        "load_s": seconds_to_load(trial.package),
        "decision": "taken" if trial.taken else "kept ours",
        "why": trial.why,
    }


@cache
def seconds_to_load(package: str) -> float:
    """CPU time of importing `package` in a fresh process that has numpy, scipy, torch and SimpleITK."""
    script = (
        "import time, numpy, scipy.ndimage, scipy.stats, torch, SimpleITK; began = time.process_time(); "
        f"import {package}; print(time.process_time() - began)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return _short(done.stdout.splitlines()[-1])


def _ms(job: Callable[[], Any]) -> float:
    """CPU time of one run, in ms; what is too short for the clock is repeated."""
    began, runs = time.process_time(), 0
    while runs == 0 or time.process_time() - began < 0.02:
        job()
        runs += 1
    return 1000 * (time.process_time() - began) / runs


def _short(value: Any) -> float:
    return float(f"{float(value):.3g}")
