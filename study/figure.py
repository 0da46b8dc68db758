"""The forest plot of `docs/result.md`: patient AUC of `cpmn` minus that of its controls and ablations."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpmn.scoring.metrics import Estimate
from study.comparison import ABLATIONS, CONTROLS, Comparison, compared

TITLES = {
    "nct_nct": "NCT fed to both pathways (nct_nct)",
    "nct_only_long": "NCT alone, equal compute (nct_only_long)",
    "nct_only": "NCT alone, equal steps (nct_only)",
    "shuffled_ctpa": "another patient's CTPA (shuffled_ctpa)",
    "ctpa_pretrained": "CTPA first, NCT after (ctpa_pretrained)",
    "no_ifa": "without alignment (no_ifa)",
    "no_mutual": "without mutual learning (no_mutual)",
    "no_ifd": "without discrepancy (no_ifd)",
}
COLOUR = {True: "#b3123c", False: "#6b6f76"}  # by whether there are several trainings
FORMAT = {"dpi": 150, "metadata": {"Software": None}}  # same data, same bytes


def draw_forest(path: Path) -> None:
    """Draw the plot as PNG. Rows with one training have an open mark and an interval over patients alone."""
    found = compared((*CONTROLS, *ABLATIONS))
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    for row, one in enumerate(found):
        _draw_row(axes, row, one)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axhline(len(CONTROLS) - 0.5, color="#c8ccd2", linewidth=0.8)
    axes.set_yticks(range(len(found)), [TITLES[one.versus] for one in found])
    axes.set_ylim(len(found) - 0.5, -0.7)
    axes.set_xlim(-0.07, 0.13)
    axes.set_xticks([-0.06, -0.04, -0.02, 0, 0.02, 0.04])
    axes.set_xlabel("patient AUC: cpmn minus this network, 95 % interval", x=0.35)
    axes.set_title("other ahead  |  cpmn ahead", x=0.35, fontsize="medium")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **FORMAT)


def _draw_row(axes: Axes, row: int, found: Comparison) -> None:
    """Thick: over patients and trainings; thin: by Student's t; small dots: single trainings."""
    several = len(found.seeds) > 1
    colour = COLOUR[several]
    if several:
        axes.plot(_ends(found.student), [row, row], color=colour, linewidth=1)
        axes.plot(found.by_seed, [row + 0.25] * len(found.by_seed), "o", color=colour, markersize=3, alpha=0.6)
    axes.plot(_ends(found.auc), [row, row], color=colour, linewidth=2.5)
    value, (low, high) = np.array(found.auc["value"]), _ends(found.auc)
    axes.plot(value, row, "D", color=colour, markerfacecolor=colour if several else "white", markersize=7)
    words = f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
    axes.text(0.052, row, words, va="center", fontsize=8)
    axes.text(0.107, row, f"{len(found.seeds)} training{'s' if several else ''}", va="center", fontsize=8)


def _ends(found: Estimate) -> np.ndarray:
    return np.array([found["low"], found["high"]], float)
