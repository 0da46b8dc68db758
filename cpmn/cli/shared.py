"""What several commands need: kinds of arguments, bars, a quiet log."""

import argparse
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Commands = Any  # argparse does not name the type of its sub-commands publicly


def path(argument: str) -> Path:
    """An argument's path; an empty one, as of an unset variable, would be the current folder."""
    return Path(text(argument))


def text(argument: str) -> str:
    """An argument that must not be empty, as that of an unset variable is."""
    if not argument:
        raise argparse.ArgumentTypeError("is empty")
    return argument


@contextmanager
def errors_alone() -> Iterator[None]:
    """No warnings in the log: all that was found stands in a table."""
    log = logging.getLogger("cpmn")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def progress(folder: Path, total: int, unit: str) -> Iterator[Callable[[str, bool], None]]:
    """A bar, and at the end what was made."""
    from tqdm import tqdm

    counts = Counter()
    with tqdm(total=total, unit=unit.removesuffix("s"), disable=None) as bar:

        def done(_name: str, made: bool) -> None:
            counts[made] += 1
            bar.update()

        yield done
    print(f"{folder / 'cohort.csv'}: {counts[True]} {unit} made, {counts[False]} were there already")
