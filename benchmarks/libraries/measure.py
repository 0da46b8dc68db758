"""All trials, one after the other."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.libraries import reading, scoring, tables, training, volumes
from benchmarks.libraries.trial import row


def measure() -> Iterator[dict[str, Any]]:
    """One row per trial: difference, CPU times in ms and their ratio (median and range of the repeats), decision."""
    torch.set_num_threads(1)
    for part in (reading, training, scoring, volumes, tables):
        for trial in part.trials():
            yield row(trial)
