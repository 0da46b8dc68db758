"""Pairs without masks: who outlines the pairs that nobody outlined, and what a network makes of it (docs/protocol.md).

The tables in `results/few` are read. There a variant is `annotate-k4`, and the draw of the 4 outlined patients is its
seed; `nct_only` are the trainings with all outlines. Those on hard negatives too end in `-hard`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cpmn.scoring.metrics import Estimate
from study.comparison import PRIMARY, variants
from study.tables import RESULTS, patients_tested, read, where
from study.uncertainty import Figure, Readings, auc, dice, difference, of_common_seeds, value_of, wider, with_interval

FEW = RESULTS / "few"
OUTLINERS = "outliners.csv"
ALL = "nct_only"
HARD = "hard"
"""Ending of the names of trainings on hard negatives too."""
FEWEST = 4
"""Outlined patients at which the primary endpoint is asked."""
TEACHER = "annotate"
TEACHER_HARD = f"{TEACHER}_{HARD}"
"""`annotate` whose own network was trained on hard negatives too."""
NAMES = {
    "label_alone": "A: the yes or no alone",
    "label_alone_long": "A-long: the same, as much compute as C",
    "own": "B: what A's network outlines on their NCT",
    TEACHER: "C: what `annotate` outlines on their CTPA",
    TEACHER_HARD: "C+: the same, by a network with hard negatives and 6,000 steps",
    ALL: "E: all outlined exactly",
}
KS = (0, 2, 4, 8, 16)
"""Outlined patients with PE that were asked for, of `OUTLINES`."""
OUTLINES = 32
Cells = list[str]


GOAL = 8
"""Outlined patients whose yes or no alone is to be beaten by outlines from elsewhere."""


@dataclass(frozen=True)
class Point:
    """A figure where `outlined` patients are, with its 95 % interval, of so many `trainings`."""

    outlined: int
    estimate: Estimate
    trainings: int


def variant_of(name: str, outlined: int, hard: bool = False) -> str:
    """Variant in the tables: who outlined the others, how many are outlined exactly, and whether on hard negatives."""
    return (name if name == ALL else f"{name}-k{outlined}") + f"-{HARD}" * hard


def figures(outlined: int, hard: bool = False, folder: Path = FEW) -> list[Cells]:
    """A row for each that was trained: name, trainings, AUC and Dice with 95 %, mL marked in a patient without PE."""
    rows, patients = [], patients_tested(PRIMARY, folder)
    for name, readings in _of(outlined, hard, folder).items():
        values = [with_interval(value_of(figure, readings)) for figure in (auc, dice)]
        marks = _false_ml(patients, variant_of(name, outlined, hard), readings.seeds)
        rows.append([NAMES[name], str(len(readings.seeds)), *values, marks])
    return rows


def differences(outlined: int, hard: bool = False, folder: Path = FEW, teacher: str = TEACHER) -> list[Cells]:
    """The `teacher`'s pupil minus each other: AUC by bootstrap and by Student's t, Dice; of draws that both have."""
    found = _of(outlined, hard, folder)
    pupil = found.pop(teacher)
    return [_minus(name, *_paired(name, pupil, other)) for name, other in found.items()]


def plus_differences(folder: Path = FEW) -> list[Cells]:
    """C+ minus each other, in a row for each number of outlines and network, as in `differences`.

    Without any outline of one's own also minus the yes or no of patients of whom `GOAL` are outlined.
    """
    rows = []
    for outlined in KS:
        if TEACHER_HARD in _of(outlined, True, folder):
            rows += [[str(outlined), *cells] for cells in differences(outlined, True, folder, TEACHER_HARD)]
    from_elsewhere, other = _of(0, True, folder).get(TEACHER_HARD), _of(GOAL, True, folder).get("label_alone")
    if from_elsewhere and other:
        name, *cells = _minus("label_alone", *of_common_seeds(from_elsewhere, other))
        rows.append(["0", f"{name} with {GOAL} outlines", *cells])
    return rows


def hard_gains(outlined: int, folder: Path = FEW) -> list[Cells]:
    """A row for each that was trained with and without hard negatives, of draws that both have.

    With minus without as in `differences`, then the mL marked in a patient without PE, from without to with.
    """
    plain, hard = (_of(outlined, either, folder) for either in (False, True))
    rows, patients = [], patients_tested(PRIMARY, folder)
    for name in [name for name in hard if name in plain]:
        both = _paired(name, hard[name], plain[name])
        marks = [_false_ml(patients, variant_of(name, outlined, either), both[0].seeds) for either in (False, True)]
        rows.append([*_minus(name, *both), " to ".join(marks)])
    return rows


def _paired(name: str, first: Readings, second: Readings) -> tuple[Readings, Readings]:
    """Both with the draws that they share; with all outlines there are no draws."""
    return (first, second) if name == ALL else of_common_seeds(first, second)


def _minus(name: str, first: Readings, second: Readings) -> Cells:
    """Letter of `name`, and first minus second: AUC by bootstrap, by Student's t where there are draws, and Dice."""
    area, overlap = (with_interval(difference(figure, first, second)[0], "+.3f") for figure in (auc, dice))
    paired = name != ALL and len(first.seeds) > 1
    student = with_interval(wider(auc, first, second), "+.3f") if paired else ""
    return [letter(name), area, student, overlap]


def letter(name: str) -> str:
    """What a network is called in a word."""
    return NAMES[name].partition(":")[0]


def won_back(figure: Figure, outlined: int, hard: bool = False, folder: Path = FEW) -> float:
    """Share of the gap between the label alone and all outlines that `annotate` closes; 1 is all of it."""
    found = _of(outlined, hard, folder)
    low, middle, high = (float(figure(found[name])) for name in ("label_alone", TEACHER, ALL))
    return (middle - low) / (high - low)


def together(outlined: int, name: str, folder: Path = FEW) -> str:
    """AUC of the mean class probability of a network's trainings on hard negatives; empty where there is one.

    They learnt from other outlined patients each, so that together they know more of them.
    """
    found = _of(outlined, True, folder)[name]
    if len(found.seeds) == 1:
        return ""
    mean = Readings((0,), *(values.mean(axis=0, keepdims=True) for values in (found.pe, found.normal, found.dice)))
    return with_interval(value_of(auc, mean))


def marks(outlined: int, name: str, folder: Path = FEW) -> str:
    """Mean mL that the trainings on hard negatives of a network mark in a patient without PE."""
    readings = _of(outlined, True, folder)[name]
    return _false_ml(patients_tested(PRIMARY, folder), variant_of(name, outlined, True), readings.seeds)


def curve(figure: Figure, hard: bool = True, folder: Path = FEW) -> dict[str, list[Point]]:
    """Points of each that was trained, by name, from few outlines to all of them."""
    found: dict[str, list[Point]] = {}
    for outlined in (*KS, OUTLINES):
        for name, readings in _of(outlined, hard, folder).items():
            if (name == ALL) == (outlined == OUTLINES):
                point = Point(outlined, value_of(figure, readings), len(readings.seeds))
                found.setdefault(name, []).append(point)
    return {name: found[name] for name in NAMES if name in found}


def outlines(folder: Path = FEW) -> list[Cells]:
    """A row for each draw and outliner: Dice of outlines that no person drew with the truth (`study.scores`)."""
    found = read(OUTLINERS, folder).sort_values(["by", "outlined", "draw"])
    return [
        [
            f"`{row.by}`",
            str(row.outlined),
            str(row.draw),
            str(row.patients),
            _dice(row.dice_ctpa),
            _dice(row.dice_nct),
            _dice(row.right),
        ]
        for row in found.itertuples()
    ]


def _false_ml(patients: pd.DataFrame, variant: str, seeds: Collection[int]) -> str:
    """Mean mL that the variant's trainings with these seeds mark in a patient without PE."""
    normals = where(patients, variant=variant, label=0)
    return f"{normals.loc[normals['seed'].isin(list(seeds)), 'predicted_ml'].mean():.1f}"


def _dice(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"


def _of(outlined: int, hard: bool, folder: Path) -> dict[str, Readings]:
    """Readings by name, of those that were trained, in the order of `NAMES`."""
    found = variants(PRIMARY, folder)
    keys = {name: variant_of(name, outlined, hard) for name in NAMES}
    return {name: found[key] for name, key in keys.items() if key in found}
