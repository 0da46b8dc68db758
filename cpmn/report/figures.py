"""Line drawings as inline SVG that takes its colours from the page's style sheet, light or dark."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

VARIANT_COLOURS = 8
# Stand-in colours, replaced by CSS variables in the finished drawing.
INK, MUTED, RULE = "#010203", "#020304", "#030405"
PALETTE = [f"#00010{index}" for index in range(VARIANT_COLOURS)]
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)"} | {
    colour: f"var(--v{index})" for index, colour in enumerate(PALETTE)
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cpmn",  # same data, same bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "axes.formatter.limits": (-2, 4),  # keeps labels of small numbers narrow
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
DASHES = ["-", "--", ":", "-."]


def learning_curve(history: Mapping[str, Mapping[str, pd.DataFrame]], column: str, description: str) -> Markup | None:
    """One quantity over the steps, a colour per variant and a dash pattern per fold; None where nobody has it.

    Missing points (validation runs only now and then) are left out and the remaining points joined.
    """
    if not any(len(_points(curve, column)) for folds in history.values() for curve in folds.values()):
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(3.3, 2.1)
        for index, folds in enumerate(history.values()):
            for fold, curve in enumerate(folds.values()):
                points = _points(curve, column)
                marker = "o" if 0 < len(points) <= 12 else None
                colour, dashes = PALETTE[index % VARIANT_COLOURS], DASHES[fold % len(DASHES)]
                axes.plot(points["step"], points[column], color=colour, linestyle=dashes, marker=marker, markersize=3)
        axes.set_xlabel("step")
        axes.locator_params(nbins=5)
        axes.set_xlim(left=0)
        if column in ("validation_dice", "validation_auc"):
            axes.set_ylim(-0.02, 1.02)
        return _svg(figure, description)


def roc_figure(
    curves: Mapping[str, pd.DataFrame], order: Sequence[str], points: Mapping[str, tuple[float, float]]
) -> Markup:
    """ROC curves of the variants.

    Parameters
    ----------
    curves : per variant a table with `fpr` and `tpr` (0-1).
    order : all variants; the place of a variant is its colour.
    points : per variant (1 - specificity, sensitivity) at its decision threshold, drawn as a dot.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(5.0, 4.6)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        for index, variant in enumerate(order):
            colour = PALETTE[index % VARIANT_COLOURS]
            if variant in curves:
                line = curves[variant][["fpr", "tpr"]].dropna()
                axes.plot(line["fpr"], line["tpr"], color=colour, linestyle=DASHES[index % len(DASHES)], clip_on=False)
            if variant in points:
                axes.plot(*points[variant], "o", color=colour, markersize=6, clip_on=False, zorder=3)
        axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        shown = ", ".join(variant for variant in order if variant in curves)
        return _svg(figure, f"ROC curves of {shown} on the test patients; dots are the decision thresholds.")


def score_figure(positive: Sequence[float], negative: Sequence[float], threshold: float | None, index: int) -> Markup:
    """Scores of test patients, with PE above and without below, and the decision threshold as a vertical line."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(5.0, 1.5)
        colour = PALETTE[index % VARIANT_COLOURS]
        axes.plot(positive, _spread(len(positive), 1), "o", color=colour, markersize=5, clip_on=False)
        axes.plot(negative, _spread(len(negative), 0), "o", color=colour, markersize=5, markerfacecolor="none")
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=1.2)
        axes.set(yticks=[0, 1], ylim=(-0.5, 1.5), xlabel="score")
        axes.set_yticklabels(["no PE", "PE"])
        axes.grid(axis="y", visible=False)
        line = "no threshold" if threshold is None else f"threshold {threshold:.3g}"
        return _svg(figure, f"Scores of {len(positive)} test patients with and {len(negative)} without PE; {line}.")


def _points(curve: pd.DataFrame, column: str) -> pd.DataFrame:
    return curve.reindex(columns=["step", column]).dropna()


def _spread(count: int, center: float) -> list[float]:
    return [center + 0.09 * (index % 5 - 2) if count > 1 else center for index in range(count)]


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))  # inches; only the proportions matter
    margins = {"left": 0.55 / width, "right": 1 - 0.08 / width, "bottom": 0.45 / height, "top": 1 - 0.08 / height}
    figure.subplots_adjust(**margins)  # fixed: a fitted layout would draw everything twice
    return figure, figure.subplots()


def _svg(figure: Figure, description: str) -> Markup:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawing = stream.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<style.*?</style>|<!--.*?-->", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' id="(?!m[0-9a-f]{10}|p[0-9a-f]{10})[^"]*"', "", drawing)  # names that would repeat on the page
    drawing = re.sub(r"font-family: [^;\"]*;?|transform=\"rotate\(-0 [^\"]*\"", "", drawing)  # the page's font
    for stand_in, variable in VARIABLES.items():
        drawing = drawing.replace(stand_in, variable)
    head = re.search(r'viewBox="[^"]*"', drawing)
    body = drawing[drawing.index(">") + 1 :]
    box = head.group(0) if head else ""
    return Markup(f'<svg {box} role="img" aria-label="{escape(description)}" class="plot">{body}')
