"""Pairs without masks: who outlines the pairs that nobody outlined, and what a network makes of it (docs/protocol.md).

The tables in `results/few` are read. There a variant is `annotate-k4`, and the draw of the 4 outlined patients is its
seed; `nct_only` are the trainings with all outlines. How they were trained stands in the ending: `HARD` and below.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from cpmn.scoring.metrics import Estimate, mean
from study.cohort import RULE
from study.comparison import PRIMARY, variants
from study.tables import RESULTS, RUNS, Folders, kept, patients_tested, read, where
from study.uncertainty import Figure, Readings, auc, dice, difference, of_common_seeds, value_of, wider, with_interval

FEW = RESULTS / "few"
AGAIN = RESULTS / "again"
"""Tables of the patients that no network was chosen on."""
BOTH = FEW, AGAIN
OUTLINERS = "outliners.csv"
RETRIEVAL = "retrieval.csv"
ALL = "nct_only"
LONG = "long"
"""Ending of networks that learnt for as many steps as the dearest of the others."""
ALL_LONG = f"{ALL}_{LONG}"
EVERY = (ALL, ALL_LONG)
"""Networks to whom all are outlined."""
ALONE = "label_alone"
ALONE_LONG = f"{ALONE}_{LONG}"
HARD = "hard"
"""Ending of the names of trainings on hard negatives too."""
STAY = "stay"
"""Ending of trainings on hard negatives whose places stay; those with `HARD` dropped them."""
LARGE = "large"
"""Ending of trainings whose places stay, and whose simulated clots are large and lie about a voxel of vessel."""
WHOLE = "whole"
"""Ending of trainings whose simulated clots reach the wall too, and stand in for outlined patients that lack."""
LEAKY = "leaky"
"""Ending of D of today but for alignment, which told places by where in the patch they lie."""
WALL = "wall"
"""Ending of trainings of today: the same, and what `annotate` leaves out is unknown. Others differ in nothing."""
UNSIMULATED = f"{WALL}-unsimulated"
"""Ending of trainings of today without simulated emboli on the NCT; `annotate` has them on the CTPA."""
PLAIN = f"{WALL}-plain"
"""Ending of trainings of today without hard negatives. No table holds any."""
EARLIER = {
    "": "no hard negatives, small simulated clots",
    HARD: "hard negatives",
    STAY: "hard negatives that stay",
    LARGE: "and large simulated clots, about a voxel of vessel",
    WHOLE: "today's, but what `annotate` leaves out is taught as none",
    LEAKY: "today's, but alignment tells places by where they lie",
}
"""Recipes before today's in words, by ending."""
OTHERS = EARLIER | {UNSIMULATED: "today's, without simulated emboli on the NCT"}
"""The same, and what today's is without a part."""
TEACHER = "annotate"
TEACHER_HARD = f"{TEACHER}_{HARD}"
"""`annotate` whose own network was trained on hard negatives too."""
TEACHER_SIMULATED = f"{TEACHER}_simulated"
"""The same, whose network saw no clots but simulated ones: a switch that was tried (commit 3e1be77) and dropped."""
JOINT = "joint"
NAMES = {
    ALONE: "A: the yes or no alone",
    ALONE_LONG: "A-long: the same, as much compute as C+",
    "own": "B: what A's network outlines on their NCT",
    TEACHER: "C: what `annotate` outlines on their CTPA",
    TEACHER_HARD: "C+: what `annotate` outlines on their CTPA, with hard negatives and 6,000 steps",
    f"{TEACHER_HARD}_{LONG}": "C+-long: the same, and the network that learns from it for as long as A-long",
    TEACHER_SIMULATED: "S: what `annotate` outlines there that saw simulated clots alone",
    RULE: "R: what a rule of thumb outlines on their CTPA",
    JOINT: "D: what the CTPA pathway reads while both learn",
    f"{JOINT}_shuffled": "D-shuffled: the yes or no alone, beside another patient's CTPA",
    ALL: "E: all outlined exactly",
    ALL_LONG: "E-long: the same, for as long as A-long",
}
KS = (0, 2, 4, 8, 16)
"""Outlined patients with PE that were asked for, of `OUTLINES`."""
OUTLINES = 32
GOAL = 8
"""Outlined patients whose yes or no alone is to be beaten without any."""
Cells = list[str]


@dataclass(frozen=True)
class Point:
    """What the trainings read that had so many `outlined` patients, and the mL that they mark in one without PE.

    steps : of one, with its teacher's; empty where they were not kept.
    visible : Dice of the clots that stand out on the NCT, over patients; None where it was not measured.
    """

    outlined: int
    readings: Readings
    false_ml: str
    steps: str = ""
    visible: Estimate | None = None

    @property
    def trainings(self) -> int:
        """How many there are."""
        return len(self.readings.seeds)

    def of(self, figure: Figure) -> Estimate:
        """A figure with its 95 % interval."""
        return value_of(figure, self.readings)


def variant_of(name: str, outlined: int, ending: str = "") -> str:
    """Variant in the tables: who outlined the others, how many are outlined exactly, and the `ending` or none."""
    return (name if name in EVERY else f"{name}-k{outlined}") + (f"-{ending}" if ending else "")


def differences(ending: str = WALL, folder: Folders = FEW) -> list[Cells]:
    """Each network minus those before it in `NAMES` and minus E, in a row by number of outlines: names and `_minus`.

    A long training is compared with long ones, and A-long with all: it costs what they cost. A draw is the same
    outlined patients for all. With all outlined there are none, and without any each has its own. Networks without a
    draw in common are not compared. Last, those without any outline minus A with `GOAL`.
    """
    every, rows = variants(PRIMARY, folder), []
    for outlined in KS:
        trained = _named(every, outlined, ending)
        names = [name for name in trained if name not in EVERY]
        for place, name in enumerate(names):
            others = [*names[:place], *(one for one in EVERY if one in trained)]
            for other in (one for one in others if _is_long(one) == _is_long(name) or ALONE_LONG in (one, name)):
                shared = other not in EVERY and outlined > 0
                if not shared or _in_common(trained[name], trained[other]):
                    cells = _minus(trained[name], trained[other], shared=shared)
                    rows.append([str(outlined), letter(name), letter(other), *cells])
    goal = every.get(variant_of(ALONE, GOAL, ending))
    for name, none in _named(every, 0, ending).items():
        if goal and name not in EVERY and not _is_long(name):
            rows.append(["0", letter(name), f"A with {GOAL} outlines", *_minus(none, goal, shared=False)])
    return rows


def gains(before: str, after: str, folder: Path = FEW) -> list[Cells]:
    """A row for each number of outlines and network that was trained with both endings, of draws or seeds in common.

    With `after` minus with `before` as in `differences`, then the mL marked in a patient without PE, from that to this.
    """
    every, patients, rows = variants(PRIMARY, folder), patients_tested(PRIMARY, folder), []
    for outlined in (*KS, OUTLINES):
        for name in NAMES:
            old, new = (variant_of(name, outlined, ending) for ending in (before, after))
            there = old in every and new in every and _in_common(every[old], every[new])
            if (name in EVERY) == (outlined == OUTLINES) and there:
                both = of_common_seeds(every[new], every[old])
                marks = [_false_ml(patients, variant, both[0].seeds) for variant in (old, new)]
                rows.append([str(outlined), letter(name), *_minus(*both, shared=True), " to ".join(marks)])
    return rows


def _in_common(first: Readings, second: Readings) -> bool:
    """Whether two have a draw or seed in common."""
    return bool(set(first.seeds) & set(second.seeds))


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


def _is_long(name: str) -> bool:
    return name.endswith(f"_{LONG}")


def letter(name: str) -> str:
    """What a network is called in a word."""
    return NAMES[name].partition(":")[0]


def together(point: Point) -> str:
    """AUC of the mean class probability of a point's trainings; empty where there is one.

    They learnt from other outlined patients each, so that together they know more of them.
    """
    found = point.readings
    if len(found.seeds) == 1:
        return ""
    pe, normal, overlap = (values.mean(axis=0, keepdims=True) for values in (found.pe, found.normal, found.dice))
    return with_interval(value_of(auc, replace(found, seeds=(0,), pe=pe, normal=normal, dice=overlap)))


def curve(ending: str = WALL, folder: Folders = FEW) -> dict[str, list[Point]]:
    """Points of each that was trained, by name, from few outlines to all of them."""
    every, patients = variants(PRIMARY, folder), patients_tested(PRIMARY, folder)
    runs = kept(RUNS, folder if isinstance(folder, Path) else folder[0])
    found: dict[str, list[Point]] = {name: [] for name in NAMES}
    for outlined in (*KS, OUTLINES):
        for name, readings in _named(every, outlined, ending).items():
            if (name in EVERY) == (outlined == OUTLINES):
                variant = variant_of(name, outlined, ending)
                false_ml = _false_ml(patients, variant, readings.seeds)
                point = Point(outlined, readings, false_ml, _steps(runs, variant), _visible(patients, variant))
                found[name].append(point)
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
            *(_dice(value) for value in (row.right, row.acute, row.chronic)),
        ]
        for row in found.itertuples()
    ]


def _false_ml(patients: pd.DataFrame, variant: str, seeds: Collection[int]) -> str:
    """Mean mL that the variant's trainings with these seeds mark in a patient without PE."""
    normals = where(patients, variant=variant, label=0)
    return f"{normals.loc[normals['seed'].isin(list(seeds)), 'predicted_ml'].mean():.1f}"


def _steps(runs: pd.DataFrame, variant: str) -> str:
    """The same of all the variant's trainings."""
    own = runs if runs.empty else where(runs, variant=variant)
    return "" if own.empty else f"{own['steps'].max():,}"


def _visible(patients: pd.DataFrame, variant: str) -> Estimate | None:
    """Dice of visible clots, over patients with PE who have any: the mean over the variant's trainings."""
    if "dice_visible" not in patients:
        return None
    by_patient = where(patients, variant=variant, label=1).groupby("patient_id").agg({"dice_visible": "mean"})
    known = by_patient["dice_visible"].dropna().tolist()
    return mean(known) if known else None


def _dice(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"


def _named(found: Mapping[str, Readings], outlined: int, ending: str) -> dict[str, Readings]:
    """Of the readings by variant those with so many outlines, by name in the order of `NAMES`."""
    keys = {name: variant_of(name, outlined, ending) for name in NAMES}
    return {name: found[key] for name, key in keys.items() if key in found}
