"""The picture of `docs/benchmark.md`: what `cpmn` gains over its controls, and what is read of which patients."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.evidence.comparison import draws_of, same_patients, variant_readings, with_controls
from benchmarks.evidence.groups import PARTS, VISIBLE_ML, patients_of_seeds, third, third_limits
from benchmarks.evidence.plan import Run
from benchmarks.evidence.statistics import Readings, auc, difference, of_seed

COLOURS = {"cpmn": "#b3123c", "nct_nct": "#1f5fa8", "nct_only_long": "#2b8a5a", "nct_only": "#6b6f76"}
FORMAT = {"dpi": 150, "metadata": {"Software": None}}  # same data, same bytes


def draw_evidence(runs: Sequence[Run], results: Path, path: Path) -> bool:
    """Draw those runs of one cohort that are stored, as PNG; False where `cpmn` or every control is missing."""
    runs = [run for run in runs if (results / run.name / "patients.csv").is_file()]
    readings = same_patients(variant_readings(runs, results))
    pairs = with_controls(readings) if readings else {}
    if not pairs:
        return False
    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    seeds = readings["cpmn"].seeds
    over = "patients and seeds" if len(seeds) > 1 else "patients alone"
    patients = f"{readings['cpmn'].pe.shape[1]} + {readings['cpmn'].normal.shape[1]} patients"
    title = f"{runs[0].difficulty}: {patients}, seed {', '.join(map(str, seeds))}; intervals over {over}"
    figure.suptitle(title, fontsize="medium")
    left, right = figure.subplots(1, 2)
    _differences(left, pairs, readings)
    _thirds(right, runs, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **FORMAT)
    return True


def _differences(axes: Axes, pairs: Mapping[str, tuple[Readings, Readings]], readings: Mapping[str, Readings]) -> None:
    """Difference of `cpmn` to each control with its interval; a dot per seed."""
    draws = draws_of(readings)
    for row, (name, pair) in enumerate(pairs.items()):
        found, _ = difference("auc", *pair, draws)
        by_seed = [float(auc(of_seed(pair[0], seed)) - auc(of_seed(pair[1], seed))) for seed in pair[0].seeds]
        value, low, high = np.array([found["value"], found["low"], found["high"]], float)
        axes.plot([low, high], [row, row], color=COLOURS[name], linewidth=2)
        axes.plot(value, row, "D", color=COLOURS[name], markersize=7)
        if len(by_seed) > 1:
            axes.plot(by_seed, [row + 0.22] * len(by_seed), "o", color=COLOURS[name], markersize=4, alpha=0.6)
    axes.axvline(0, color="black", linewidth=0.8)
    widest = max(map(abs, axes.get_xlim()))
    axes.set_xlim(-widest, widest)
    axes.locator_params(axis="x", nbins=6)
    axes.set_yticks(range(len(pairs)), [f"cpmn minus\n{name}" for name in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_xlabel("patient AUC: difference with 95 % interval; dots are seeds")
    axes.set_title("control ahead   |   cpmn ahead", fontsize="medium")


def _thirds(axes: Axes, runs: Sequence[Run], results: Path) -> None:
    """AUC by third of the volume of clot that the NCT shows (of all clot, where it shows all)."""
    variants = {label: seeds for label, seeds in patients_of_seeds(runs, results).items() if label in COLOURS}
    some = next(iter(variants.values()))
    column = VISIBLE_ML if VISIBLE_ML in some[0][0][0] else "reference_ml"
    for index, (label, seeds) in enumerate(variants.items()):
        figures = [third(seeds, column, part)[1] for part in range(PARTS)]
        beside = (index - (len(variants) - 1) / 2) * 0.06  # so that equal figures can be told apart
        axes.plot([part + beside for part in range(PARTS)], figures, "o-", color=COLOURS[label], label=label)
    axes.set_xticks(range(PARTS), [f"{limits} mL" for limits in third_limits(some, column)])
    axes.set_xlim(-0.3, PARTS - 0.7)
    axes.set_ylim(0.5, 1.01)
    axes.set_xlabel("thirds of PE patients, clot over 8 HU from blood")
    axes.set_ylabel("patient AUC")
    axes.legend(frameon=False, loc="lower right")
