"""Pairs without masks: who outlines the pairs that nobody outlined, and what a network makes of it (docs/protocol.md).

The tables in `results/few` are read. There a variant is `annotate-k4`, and the draw of the 4 outlined patients is its
seed; `nct_only` are the trainings with all outlines. How they were trained stands in the ending: `HARD` and below.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from cpmn.scoring.metrics import Estimate
from study.cohort import RULE
from study.comparison import PRIMARY, variants
from study.tables import RESULTS, patients_tested, read, where
from study.uncertainty import Figure, Readings, auc, dice, difference, of_common_seeds, value_of, wider, with_interval

FEW = RESULTS / "few"
OUTLINERS = "outliners.csv"
ALL = "nct_only"
HARD = "hard"
"""Ending of the names of trainings on hard negatives too."""
STAY = "stay"
"""Ending of trainings on hard negatives whose places stay; those with `HARD` dropped them."""
LARGE = "large"
"""Ending of trainings whose places stay and whose simulated clots are as large as clots, as all of today."""
PLAIN = f"{LARGE}-plain"
"""Ending of trainings of today without hard negatives. No table holds any."""
FEWEST = 4
"""Outlined patients at which the primary endpoint is asked."""
TEACHER = "annotate"
TEACHER_HARD = f"{TEACHER}_{HARD}"
"""`annotate` whose own network was trained on hard negatives too."""
TEACHER_SIMULATED = f"{TEACHER}_simulated"
"""The same, whose network saw no clots but simulated ones: a switch that was tried (commit 3e1be77) and dropped."""
JOINT = "joint"
NAMES = {
    "label_alone": "A: the yes or no alone",
    "label_alone_long": "A-long: the same, as much compute as C",
    "own": "B: what A's network outlines on their NCT",
    TEACHER: "C: what `annotate` outlines on their CTPA",
    TEACHER_HARD: "C+: what `annotate` outlines on their CTPA, with hard negatives and 6,000 steps",
    TEACHER_SIMULATED: "S: what `annotate` outlines there that saw simulated clots alone",
    RULE: "R: what a rule of thumb outlines on their CTPA",
    JOINT: "D: what the CTPA pathway reads while both learn",
    f"{JOINT}_shuffled": "D-shuffled: the yes or no alone, beside another patient's CTPA",
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
    """What the trainings read that had so many `outlined` patients, and the mL that they mark in one without PE."""

    outlined: int
    readings: Readings
    false_ml: str

    @property
    def trainings(self) -> int:
        """How many there are."""
        return len(self.readings.seeds)

    def of(self, figure: Figure) -> Estimate:
        """A figure with its 95 % interval."""
        return value_of(figure, self.readings)


def variant_of(name: str, outlined: int, ending: str = "") -> str:
    """Variant in the tables: who outlined the others, how many are outlined exactly, and the `ending` or none."""
    return (name if name == ALL else f"{name}-k{outlined}") + (f"-{ending}" if ending else "")


def figures(outlined: int, ending: str = "", folder: Path = FEW) -> list[Cells]:
    """A row for each that was trained: name, trainings, AUC and Dice with 95 %, mL marked in a patient without PE."""
    rows, patients = [], patients_tested(PRIMARY, folder)
    for name, readings in _of(outlined, ending, folder).items():
        values = [with_interval(value_of(figure, readings)) for figure in (auc, dice)]
        marks = _false_ml(patients, variant_of(name, outlined, ending), readings.seeds)
        rows.append([NAMES[name], str(len(readings.seeds)), *values, marks])
    return rows


def differences(outlined: int, ending: str = "", folder: Path = FEW, teacher: str = TEACHER) -> list[Cells]:
    """The `teacher`'s pupil minus each other, a row each: name and the cells of `_minus`."""
    return _minus_each(_of(outlined, ending, folder), outlined, teacher)


def plus_differences(folder: Path = FEW) -> list[Cells]:
    """C+ minus each other, in a row for each number of outlines and network, as in `differences`.

    Without any outline of one's own also minus the yes or no of patients of whom `GOAL` are outlined.
    """
    every, rows = variants(PRIMARY, folder), []
    found = {outlined: _named(every, outlined, HARD) for outlined in KS}
    for outlined, trained in found.items():
        if TEACHER_HARD in trained:
            rows += [[str(outlined), *cells] for cells in _minus_each(trained, outlined, TEACHER_HARD)]
    from_elsewhere, other = found[0].get(TEACHER_HARD), found[GOAL].get("label_alone")
    if from_elsewhere and other:
        cells = _minus(from_elsewhere, other, shared=False)
        rows.append(["0", f"{letter('label_alone')} with {GOAL} outlines", *cells])
    return rows


def large_differences(folder: Path = FEW) -> list[Cells]:
    """Of trainings of today each minus those before it in `NAMES` and minus E, by number of outlines.

    Without any outline also minus the yes or no where `GOAL` are outlined, whose simulated clots are small.
    """
    every, rows = variants(PRIMARY, folder), []
    goal = every.get(variant_of("label_alone", GOAL, HARD))
    for outlined in KS:
        trained = _named(every, outlined, LARGE)
        names = [name for name in trained if name != ALL]
        for place, name in enumerate(names):
            others = {one: trained[one] for one in (*names[: place + 1], ALL) if one in trained}
            rows += [[str(outlined), letter(name), *cells] for cells in _minus_each(others, outlined, name)]
            if goal and not outlined:
                named = f"{letter('label_alone')} with {GOAL} outlines, small simulated clots"
                rows.append([str(outlined), letter(name), named, *_minus(trained[name], goal, shared=False)])
    return rows


def gains(before: str, after: str, folder: Path = FEW) -> list[Cells]:
    """A row for each number of outlines and network that was trained with both endings, of draws or seeds in common.

    With `after` minus with `before` as in `differences`, then the mL marked in a patient without PE, from that to this.
    """
    every, patients, rows = variants(PRIMARY, folder), patients_tested(PRIMARY, folder), []
    for outlined in (*KS, OUTLINES):
        for name in NAMES:
            old, new = (variant_of(name, outlined, ending) for ending in (before, after))
            if (name == ALL) == (outlined == OUTLINES) and old in every and new in every:
                both = of_common_seeds(every[new], every[old])
                marks = [_false_ml(patients, variant, both[0].seeds) for variant in (old, new)]
                rows.append([str(outlined), letter(name), *_minus(*both, shared=True), " to ".join(marks)])
    return rows


def stay_gains(folder: Path = FEW) -> list[Cells]:
    """What it brings that hard negatives stay, as in `gains`; then C+ minus E where they stay in both."""
    every, rows = variants(PRIMARY, folder), gains(HARD, STAY, folder)
    pupils, limit = every.get(variant_of(TEACHER_HARD, GOAL, STAY)), every.get(variant_of(ALL, OUTLINES, STAY))
    if pupils and limit:
        rows.append([str(GOAL), "C+ minus E, both stay", *_minus(pupils, limit, shared=False), ""])
    return rows


def _minus_each(found: Mapping[str, Readings], outlined: int, teacher: str) -> list[Cells]:
    """The `teacher`'s pupil minus each other of `found`, by letter.

    A draw is the same outlined patients for all. With all outlined there are none, and without any each has its own.
    """
    return [
        [letter(name), *_minus(found[teacher], other, shared=name != ALL and outlined > 0)]
        for name, other in found.items()
        if name != teacher
    ]


def _minus(first: Readings, second: Readings, *, shared: bool) -> Cells:
    """First minus second: trainings of each, AUC by bootstrap, by Student's t where there are several pairs, and Dice.

    Where draws or seeds are `shared`, it is of those that both have, in pairs. Else it is of all trainings of either,
    drawn apart.
    """
    if shared:
        first, second = of_common_seeds(first, second)
    trainings = " and ".join(str(len(one.seeds)) for one in (first, second))
    found = [difference(figure, first, second, paired=shared)[0] for figure in (auc, dice)]
    area, overlap = (with_interval(one, "+.3f") for one in found)
    student = with_interval(wider(auc, first, second), "+.3f") if shared and len(first.seeds) > 1 else ""
    return [trainings, area, student, overlap]


def letter(name: str) -> str:
    """What a network is called in a word."""
    return NAMES[name].partition(":")[0]


def won_back(figure: Figure, outlined: int, ending: str = "", folder: Path = FEW, teacher: str = TEACHER) -> float:
    """Share of the gap between the label alone and all outlines that the `teacher` closes; 1 is all of it.

    Of draws that the label alone has too.
    """
    found = _of(outlined, ending, folder)
    taught, alone = of_common_seeds(found[teacher], found["label_alone"])
    low, middle, high = (float(figure(one)) for one in (alone, taught, found[ALL]))
    return (middle - low) / (high - low)


def together(point: Point) -> str:
    """AUC of the mean class probability of a point's trainings; empty where there is one.

    They learnt from other outlined patients each, so that together they know more of them.
    """
    found = point.readings
    if len(found.seeds) == 1:
        return ""
    pe, normal, overlap = (values.mean(axis=0, keepdims=True) for values in (found.pe, found.normal, found.dice))
    return with_interval(value_of(auc, replace(found, seeds=(0,), pe=pe, normal=normal, dice=overlap)))


def curve(ending: str = LARGE, folder: Path = FEW) -> dict[str, list[Point]]:
    """Points of each that was trained, by name, from few outlines to all of them."""
    every, patients = variants(PRIMARY, folder), patients_tested(PRIMARY, folder)
    found: dict[str, list[Point]] = {name: [] for name in NAMES}
    for outlined in (*KS, OUTLINES):
        for name, readings in _named(every, outlined, ending).items():
            if (name == ALL) == (outlined == OUTLINES):
                false_ml = _false_ml(patients, variant_of(name, outlined, ending), readings.seeds)
                found[name].append(Point(outlined, readings, false_ml))
    return {name: points for name, points in found.items() if points}


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


def _of(outlined: int, ending: str, folder: Path) -> dict[str, Readings]:
    return _named(variants(PRIMARY, folder), outlined, ending)


def _named(found: Mapping[str, Readings], outlined: int, ending: str) -> dict[str, Readings]:
    """Of the readings by variant those with so many outlines, by name in the order of `NAMES`."""
    keys = {name: variant_of(name, outlined, ending) for name in NAMES}
    return {name: found[key] for name, key in keys.items() if key in found}
