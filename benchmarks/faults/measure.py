"""The table of outcomes: `python -m benchmarks faults`, or `python -m benchmarks.faults --count N --seed S`."""

import argparse
import logging
import signal
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from benchmarks.faults.cases import Inputs
from benchmarks.faults.machine import measure_machine
from benchmarks.faults.outcome import KINDS, Outcome, outcome
from benchmarks.faults.workflow import measure_workflow

COUNT, TIMES, KILLS, SEED = 1500, 15, 30, 32
LOST = "lost"  # a patient left out, or results that differ when repeated
WRONG = ("silent wrong", "traceback", "hang", LOST)
Found = dict[str, list[Outcome]]


def measure() -> list[dict]:
    """A row for each class of input and each kind of trouble: how many cases ended how."""
    found: Found = {}
    run(found, COUNT, TIMES, SEED, kills=KILLS)
    return table(found)


def run(
    found: Found,
    count: int,
    times: int,
    seed: int,
    told: Path | None = None,
    only: Collection[str] = (),
    kills: int = 0,
) -> None:
    """Add outcomes to `found` as they come: `count` mutations in mixed order, `times` of each trouble, then `kills` of
    a whole workflow.

    told : where what is wrong is written, with the seed and number that make the case again.
    only : classes of input to damage, by name; none are all.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for kind, case, one in _cases(count, times, seed, only, kills):
            found.setdefault(kind, []).append(one)
            _tell(told, f"{kind} {case}", one)
    finally:
        logging.disable(before)
        torch.set_num_threads(threads)


def _cases(count: int, times: int, seed: int, only: Collection[str], kills: int) -> Iterator[tuple[str, str, Outcome]]:
    """Class of input or kind of trouble, seed and number, and outcome of each case."""
    with tempfile.TemporaryDirectory() as name:
        inputs = Inputs(Path(name))
        yield from _damaged(inputs, Path(name), count, seed, only)
        if times:
            yield from measure_machine({"folder": inputs.dicom, "zip": inputs.zipped(Path(name))}, times, seed)
    if kills:
        yield from measure_workflow(kills, seed)


def _damaged(
    inputs: Inputs, folder: Path, count: int, seed: int, only: Collection[str]
) -> Iterator[tuple[str, str, Outcome]]:
    """Class of input, seed and number, and outcome of each case; in mixed order, so that a part is a sample."""
    cases = [
        (index, number)
        for index, kind in enumerate(inputs.kinds)
        for number in range(round(kind.share * count))
        if not only or kind.name in only
    ]
    for place in np.random.default_rng(seed).permutation(len(cases)):
        index, number = cases[place]
        kind = inputs.kinds[index]
        with tempfile.TemporaryDirectory(dir=folder) as case:
            damaged = kind.make(Path(case))
            kind.damage(damaged, np.random.default_rng([seed, index, number]))
            yield kind.name, f"{seed}/{index}/{number}", outcome(lambda read=kind.read, source=damaged: read(source))


def table(found: Found) -> list[dict]:
    """Rows of the table: a class, its cases, and how many of them ended how."""
    return [
        {"input or trouble": name, "cases": len(ones)} | _counts(ones)
        for name, ones in [*sorted(found.items()), ("all", [one for ones in found.values() for one in ones])]
    ]


def _counts(ones: list[Outcome]) -> dict[str, int]:
    counts = Counter(one.kind for one in ones)
    return {kind: counts[kind] for kind in (*KINDS, LOST)}


def _tell(told: Path | None, name: str, one: Outcome) -> None:
    if told is not None and one.kind in WRONG:
        with told.open("a") as stream:
            stream.write(f"{name}: {one.kind}\n{one.told}\n\n")


def main() -> None:
    """Print the table, of what was done so far if it is interrupted; what is wrong stands in a file beside."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="mutations (default: %(default)s)")
    parser.add_argument("--times", type=int, default=TIMES, help="of each trouble and source (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=KILLS, help="of a whole workflow (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--told", type=Path, default=Path("faults.txt"), help="file of what went wrong")
    options = parser.parse_args()
    options.told.write_text("")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found: Found = {}
    try:
        run(found, options.count, options.times, options.seed, options.told, kills=options.kills)
    except KeyboardInterrupt:
        print("interrupted; so far:")
    for row in table(found):
        print(", ".join(f"{value} {key}" for key, value in row.items() if value), flush=True)
