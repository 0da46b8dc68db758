"""What each loss term adds to the total at the end of a training, so that the reader sees which ones act at all."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence.markdown import table
from benchmarks.evidence.plan import Run
from cpmn.files import read_table
from cpmn.train.stage import HISTORY_FILE

WEIGHTS = {
    "segmentation": (),
    "segmentation_ctpa": (),
    "classification": ("classification_weight",),
    "classification_ctpa": ("classification_weight",),
    "discrepancy": ("discrepancy_weight",),
    "discrepancy_ctpa": ("discrepancy_weight",),
    "mutual": ("mutual_weight",),
    "alignment": ("alignment_weight",),
    "affinity": ("alignment_weight", "affinity_weight"),
}
"""Loss parts and the settings that weigh them, as `cpmn.train.objective.training_loss` does after the warm-up."""


def loss_lines(runs: Sequence[Run], stored: Mapping[str, Any], results: Path) -> Iterator[str]:
    """Markdown lines: each part times its weight, mean over the last epoch, of the runs with two pathways."""
    rows = [
        [run.name, *_cells(read_table(path)[-1], stored[run.name]["settings"])]
        for run in runs
        if run.name in stored
        and "ctpa" in stored[run.name]["settings"]["pathways"]
        and (path := results / run.name / HISTORY_FILE).is_file()
    ]
    if rows:
        yield "### What the loss terms add\n"
        yield "Each part times its weight, mean over the last epoch (each run's `history.csv`). A term that adds little"
        yield "by then may have done its work before.\n"
        yield from table(["run", *(name.replace("_ctpa", ", CTPA") for name in WEIGHTS)], rows)


def _cells(last: Mapping[str, str], settings: Mapping[str, Any]) -> list[str]:
    return [_cell(last[f"train_{part}"], [settings[name] for name in names]) for part, names in WEIGHTS.items()]


def _cell(value: str, weights: Sequence[float]) -> str:
    """The part times its weights; empty for a term that was off."""
    if not value:
        return ""
    return f"{float(value) * math.prod(weights):.2g}"
