"""The table of outcomes: `python -m benchmarks faults`, or `python -m benchmarks.faults --count N --seed S`."""

import argparse
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from benchmarks.faults.cases import Inputs
from benchmarks.faults.machine import measure_machine
from benchmarks.faults.outcome import KINDS, Outcome, outcome

COUNT, TIMES, SEED = 1500, 15, 32
LOST = "lost"  # a patient left out, or results that differ when repeated


def measure(count: int = COUNT, times: int = TIMES, seed: int = SEED, told: Path | None = None) -> Iterator[dict]:
    """A row for each class of input and each kind of trouble: how many cases ended how.

    told : where what is wrong is written, with the seed and number that make the case again.
    """
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as name:
        inputs = Inputs(Path(name))
        for index, kind in enumerate(inputs.kinds):
            found = []
            for number in range(round(kind.share * count)):
                random = np.random.default_rng([seed, index, number])
                with tempfile.TemporaryDirectory(dir=name) as case:
                    damaged = kind.make(Path(case))
                    kind.damage(damaged, random)
                    found.append(outcome(lambda read=kind.read, source=damaged: read(source)))
                _tell(told, f"{kind.name} {seed}/{index}/{number}", found[-1])
            yield _row(kind.name, found)
        sources = {"folder": inputs.dicom, "zip": inputs.kinds[1].make(Path(name))}
        for what, found in measure_machine(sources, times, seed).items():
            for number, one in enumerate(found):
                _tell(told, f"{what} {seed}/{number}", one)
            yield _row(what, found)


def _row(name: str, found: list[Outcome]) -> dict:
    counts = Counter(one.kind for one in found)
    return {"input or trouble": name, "cases": len(found), **{kind: counts[kind] for kind in (*KINDS, LOST)}}


def _tell(told: Path | None, name: str, one: Outcome) -> None:
    if told is not None and one.kind in ("silent wrong", "traceback", "hang", LOST):
        with told.open("a") as stream:
            stream.write(f"{name}: {one.kind}\n{one.told}\n\n")


def main() -> None:
    """Print the table as it comes, and what is wrong in a file beside."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="mutations (default: %(default)s)")
    parser.add_argument("--times", type=int, default=TIMES, help="of each trouble and source (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--told", type=Path, default=Path("faults.txt"), help="file of what went wrong")
    options = parser.parse_args()
    options.told.write_text("")
    for row in measure(options.count, options.times, options.seed, options.told):
        print(", ".join(f"{value} {key}" for key, value in row.items() if value), flush=True)
