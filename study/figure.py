"""The plots of `docs/result.md`: AUC of `cpmn` minus that of its controls, and AUC and Dice by number of outlines."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpmn.scoring.metrics import Estimate
from study.comparison import ABLATIONS, CONTROLS, Comparison, compared
from study.few import ALL, ALL_LONG, BOTH, EVERY, FEW, NAMES, OUTLINES, UNSIMULATED, WALL, Point, curve
from study.tables import Folders
from study.uncertainty import Figure as Measure
from study.uncertainty import auc, dice

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
LINES = {
    "label_alone": ("#6b6f76", "s"),
    "own": ("#1f6f8b", "^"),
    "annotate": ("#d9a441", "v"),
    "annotate_hard": ("#b3123c", "o"),
    "annotate_simulated": ("#b3123c", "P"),
    "rule": ("#7a4fa3", "X"),
    "joint": ("#2c8a4b", "P"),
    "label_alone_long": ("#274b8f", "s"),
    "annotate_hard_long": ("#e58aa0", "o"),
    ALL: ("black", "D"),
    ALL_LONG: ("#274b8f", "D"),
}
"""Colour and marker of each."""
RECIPES: dict[str, Folders] = {WALL: FEW, UNSIMULATED: BOTH}
"""Tables that each row of panels is drawn from, by the ending of its trainings."""
TITLES_OF_ROWS = {WALL: "with simulated emboli on the NCT", UNSIMULATED: "without simulated emboli on the NCT"}
APART = 0.045  # of an octave of outlines: points of the same number stand beside each other
TICKS = (0, 2, 4, 8, 16, OUTLINES)
NONE = 1.0  # where no outlines stand on an axis of octaves: an octave before the fewest, 2
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


def draw_curve(path: Path, recipes: Mapping[str, Folders] = RECIPES) -> None:
    """Draw AUC and Dice by the number of outlined patients as PNG, trainings of today; 95 % intervals.

    recipes : as `RECIPES`; a recipe without any training has no row.
    """
    rows = {ending: lines for ending, folder in recipes.items() if (lines := curve(ending, folder))}
    figure = Figure(figsize=(9, 1.2 + 3 * len(rows)), layout="constrained")
    panels, named = figure.subplots(len(rows), 2, sharex=True, sharey="col", squeeze=False), {}
    for row, (ending, lines) in zip(panels, rows.items(), strict=True):
        pe, normal = next(iter(lines.values()))[0].readings.patients
        title = f"{TITLES_OF_ROWS[ending]}, {len(pe)} + {len(normal)} patients"
        for axes, what, words in zip(row, (auc, dice), ("patient AUC", "Dice"), strict=True):
            _draw_panel(axes, lines, what)
            axes.set_ylabel(words)
            axes.set_title(title, fontsize="small")
            marks, labels = axes.get_legend_handles_labels()
            named |= dict(zip(labels, marks, strict=True))
    for axes in panels[-1]:
        axes.set_xlabel(f"patients with PE, of {OUTLINES}, with an exact outline")
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **FORMAT)


def _draw_panel(axes: Axes, lines: Mapping[str, Sequence[Point]], what: Measure) -> None:
    """A figure of all networks over the number of outlined patients."""
    for place, (name, points) in enumerate(lines.items()):
        _draw_line(axes, name, points, what, 1 + APART * (place - 2))
    axes.set_xscale("log", base=2)
    axes.set_xticks([max(number, NONE) for number in TICKS], [str(number) for number in TICKS])
    axes.minorticks_off()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_line(axes: Axes, name: str, points: Sequence[Point], what: Measure, shift: float) -> None:
    """Filled marks: several trainings; open: one, whose interval is over patients alone."""
    colour, marker = LINES[name]
    where = np.array([max(point.outlined, NONE) * shift for point in points])
    estimates = [point.of(what) for point in points]
    values = np.array([found["value"] for found in estimates], float)
    label = NAMES[name].replace("`", "")
    axes.plot(where, values, marker, color=colour, label=label)  # no line: other patients were outlined each time
    for x, value, point, found in zip(where, values, points, estimates, strict=True):
        axes.plot([x, x], _ends(found), color=colour, linewidth=1.5, alpha=0.6)
        if point.trainings == 1:
            axes.plot(x, value, marker, color=colour, markerfacecolor="white")
    if name in EVERY:
        axes.axhline(values[0], color=colour, linewidth=0.8, linestyle=":")


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
