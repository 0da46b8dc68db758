"""The generated tables of `docs/result.md` and `docs/protocol.md`, between markers in the pages."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from cpmn.files import write_text
from cpmn.scoring import metrics
from study.comparison import CONTROLS, PRIMARY, Comparison, compared, variants
from study.few import (
    AGAIN,
    BOTH,
    EARLIER,
    FEW,
    LARGE,
    LEAKY,
    OTHERS,
    RETRIEVAL,
    UNSIMULATED,
    WALL,
    WHOLE,
    curve,
    differences,
    gains,
    letter,
    outlines,
    together,
)
from study.groups import clots_found, thirds
from study.tables import RUNS, Folders, patients_tested, read, where
from study.uncertainty import Readings, auc, dice, found_where_cleared, value_of, with_interval

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
LIMITS = PROJECT / "benchmarks" / "results"
SPECIFICITY = 0.95
SHARE_OF_LIMIT = 0.9  # goal of `mixed`: so much of what the limit's AUC exceeds chance by
PAPER = ("the paper's, on people", "", "62 of 65", "249 of 250", "", "0.785", "", "")
NAMES = {
    "cpmn": "`cpmn`: NCT and CTPA learn together",
    "nct_nct": "`nct_nct`: the same, the NCT fed to both",
    "nct_only_long": "`nct_only_long`: NCT alone, equal compute",
    "nct_only": "`nct_only`: NCT alone, equal steps",
    "nnunet": "nnU-Net v2: NCT alone, equal compute",
}
Lines = Iterator[str]


def mixed_table() -> Lines:
    """The primary cohort: `cpmn`, its controls and nnU-Net v2 beside the limit."""
    patients, readings = patients_tested(PRIMARY), variants(PRIMARY)
    rows = [_mixed_row(name, where(patients, variant=name), readings[name]) for name in NAMES]
    limit = _limit(PRIMARY)
    outline = _outline("mixed", "opened")
    rows.append(["limit: a reader who knows all but the clots", "", "", "", f"{limit:.3f}", f"{outline:.2f}", "", ""])
    goal = 0.5 + SHARE_OF_LIMIT * (limit - 0.5)
    share = f"goal: 0.5 and {SHARE_OF_LIMIT:.0%} of what the limit exceeds it by".replace("%", " %")
    rows.append([share, "", "", "", f"{goal:.3f}", "", "", ""])
    heads = ["network", "trainings", "PE found at 95 % specificity", "found, cleared by its own threshold"]
    yield from markdown([*heads, "AUC", "Dice", "false mL in a normal", "training minutes"], rows)


def others_table() -> Lines:
    """The easiest and the hardest patients, one training each."""
    heads = ["patients", "network", "PE found", "others cleared", "AUC", "Dice", "false mL in a normal", "minutes"]
    rows = [_other_row("learnable", name) for name in ("nct_only", "nct_only_truth")]
    rows.append(["`learnable`", "goal: " + PAPER[0], *PAPER[2:]])
    rows.append(["`learnable`", "limit", "", "", f"{_limit('learnable'):.3f}", f"{_outline('learnable', 'test'):.2f}"])
    rows += [_other_row("realistic", name) for name in ("nct_only", "cpmn", "nct_only-of-mixed")]
    rows.append(["`realistic`", "limit", "", "", f"{_limit('realistic'):.3f}"])
    yield from markdown(heads, [row + [""] * (len(heads) - len(row)) for row in rows])


def differences_table() -> Lines:
    """`cpmn` minus controls and ablations."""
    found = compared()
    family = {one.versus: one.p_of_dice for one in found if one.versus in CONTROLS}
    _, corrected, *_ = multipletests(list(family.values()), method="holm")
    adjusted = dict(zip(family, np.asarray(corrected).tolist(), strict=True))
    heads = ["`cpmn` minus", "seeds", "AUC", "by Student's t", "without seed 0", "Dice", "p of Dice (Holm)"]
    yield from markdown(heads, [_difference_row(one, adjusted.get(one.versus)) for one in found])


def thirds_table() -> Lines:
    """AUC by the volume of clot that the NCT shows."""
    for difficulty, names in (("mixed", ("cpmn", *CONTROLS)), ("realistic", ("cpmn", "nct_only"))):
        found = thirds(difficulty, variants(difficulty))
        rows = [[str(row), *(f"{found.loc[row, name]:.2f}" for name in names)] for row in found.index]
        yield from markdown([f"`{difficulty}`: visible mL", *(f"`{name}`" for name in names)], rows)


def clots_table() -> Lines:
    """Clots found by contrast, beside the reference observer."""
    found, names = clots_found(PRIMARY), ("cpmn", *CONTROLS)
    limits = _observer(PRIMARY, "clots found")
    rows = [
        [group, str(row["clots"]), *(_percent(row[name]) for name in names), _percent(limits[group])]
        for group, row in found.to_dict("index").items()
    ]
    yield from markdown(["contrast to blood", "clots", *(f"`{name}`" for name in names), "limit"], rows)


def runs_table() -> Lines:
    """Every kept training."""
    heads = ["run", "steps", "minutes", "found", "cleared", "AUC", "Dice", "false mL", "reading s", "commit", "read"]
    rows = []
    for run in read(RUNS).itertuples():
        figures = _single(where(patients_tested(str(run.difficulty)), run=run.run))
        timed = [f"{run.reading_seconds:.1f}", f"`{str(run.commit)[:7]}`", str(run.date)]
        rows.append([f"{run.difficulty}/{run.run}", str(run.steps), f"{run.training_minutes:.0f}", *figures, *timed])
    yield from markdown(heads, rows)


COMPARED = (LARGE, WHOLE, LEAKY, UNSIMULATED)
"""Recipes that today's is held against."""
FEW_DIFFERENCES = ("trainings of each", "AUC", "by Student's t", "Dice")
STEPS = "steps, with its teacher's"
CURVE = ("outlined", "network", "trainings", "AUC", "AUC of all together", "Dice", "false mL in a normal")


def few_differences_table(ending: str = WALL, folder: Folders = FEW) -> Lines:
    """Networks of a recipe minus each other."""
    yield from markdown(("outlined", "network", "minus", *FEW_DIFFERENCES), differences(ending, folder))


def few_gains_table() -> Lines:
    """Networks of today minus the same of other recipes."""
    heads = ("the other recipe", "outlined", "network", *FEW_DIFFERENCES, "mL marked in a normal")
    yield from markdown(heads, [[OTHERS[one], *row] for one in COMPARED for row in gains(one, WALL)])


def curve_table(ending: str = WALL, folder: Folders = FEW) -> Lines:
    """AUC and Dice by the number of outlines, trainings of a recipe."""
    yield from markdown((*CURVE, STEPS), _points(ending, folder))


def again_table() -> Lines:
    """The same of patients that no network was chosen on, with Dice of the clots that stand out on the NCT."""
    yield from markdown((*CURVE, STEPS, "Dice of visible clots"), _points(WALL, AGAIN, visible=True))


def retrieval_table() -> Lines:
    """Whether alignment tells the own CTPA from another patient's."""
    found = read(RETRIEVAL, FEW)
    rows = [
        [
            "yes" if row.mirrored else "no",
            str(row.steps),
            *(f"{share:.2f}" for share in (row.own, row.other, row.chance)),
        ]
        for row in found.itertuples()
    ]
    yield from markdown(["CTPA mirrored", "steps", "found in the own CTPA", "in another patient's", "by chance"], rows)


def earlier_table() -> Lines:
    """The same of earlier recipes."""
    yield from markdown(
        ("recipe", *CURVE), [[words, *row] for ending, words in EARLIER.items() for row in _points(ending)]
    )


def _points(ending: str, folder: Folders = FEW, *, visible: bool = False) -> list[list[str]]:
    rows = [
        [
            *(str(point.outlined), letter(name), str(point.trainings)),
            *(with_interval(point.of(auc)), together(point), with_interval(point.of(dice)), point.false_ml),
            *([] if ending in EARLIER else [point.steps]),
            *([with_interval(point.visible)] if visible and point.visible else []),
        ]
        for name, points in curve(ending, folder).items()
        for point in points
    ]
    return sorted(rows, key=lambda row: (int(row[0]), row[1]))


def outlines_table() -> Lines:
    """How the outlines agree with the phantom's truth."""
    heads = [
        "outlined by",
        "outlined exactly",
        "draw",
        "patients",
        "Dice on the CTPA",
        "Dice on the NCT",
        "right, of its volume",
        "of acute clots",
        "of chronic clots",
    ]
    yield from markdown(heads, outlines())


TABLES: Mapping[str, Mapping[str, Callable[[], Lines]]] = {
    "result.md": {
        "mixed": mixed_table,
        "curve": curve_table,
        "again": again_table,
        "unsimulated": partial(curve_table, UNSIMULATED, BOTH),
    },
    "protocol.md": {
        "few-differences": few_differences_table,
        "again-differences": partial(few_differences_table, folder=AGAIN),
        "unsimulated-differences": partial(few_differences_table, UNSIMULATED, BOTH),
        "unsimulated-few": partial(few_differences_table, UNSIMULATED),
        "unsimulated-again": partial(few_differences_table, UNSIMULATED, AGAIN),
        "retrieval": retrieval_table,
        "few-gains": few_gains_table,
        "outlines": outlines_table,
        "earlier": earlier_table,
        "others": others_table,
        "differences": differences_table,
        "thirds": thirds_table,
        "clots": clots_table,
        "runs": runs_table,
    },
}


def write_pages(docs: Path = DOCS) -> None:
    """Write the tables into the pages."""
    for name, tables in TABLES.items():
        write_text(docs / name, filled((docs / name).read_text(encoding="utf-8"), tables))


def filled(text: str, tables: Mapping[str, Callable[[], Lines]]) -> str:
    """The page with its tables replaced. Raises ValueError if the marker of one is missing."""
    for name, make in tables.items():
        begin, end = f"<!-- table {name}: written by `python -m study` -->", "<!-- end of table -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"the page lacks the lines {begin} and {end}")
        body = "\n".join([begin, "", *make(), end])
        text = pattern.sub(lambda _, body=body: body, text)
    return text


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Lines:
    """Lines of a table, with an empty one after it."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""


def _mixed_row(name: str, patients: pd.DataFrame, readings: Readings) -> list[str]:
    *_, area, overlap, false_ml = _single(patients)
    if len(readings.seeds) > 1:
        area, overlap = (with_interval(value_of(figure, readings)) for figure in (auc, dice))
    found = found_where_cleared(readings, SPECIFICITY).mean() / readings.pe.shape[1]
    positive = patients.groupby("label").agg({"decision": "mean"})["decision"].to_dict()
    own = f"{_percent(positive[1])}, {_percent(1 - positive[0])}"
    cells = [NAMES[name], str(len(readings.seeds)), _percent(found), own, area, overlap, false_ml]
    return [*cells, _minutes(PRIMARY, name)]


def _other_row(difficulty: str, variant: str) -> list[str]:
    own = where(patients_tested(difficulty), variant=variant)
    return [f"`{difficulty}`", f"`{variant}`", *_single(own), _minutes(difficulty, variant)]


def _minutes(difficulty: str, variant: str) -> str:
    """Mean wall-clock time of a variant's trainings."""
    return f"{where(read(RUNS), difficulty=difficulty, variant=variant)['training_minutes'].mean():.0f}"


def _single(patients: pd.DataFrame) -> list[str]:
    """Found, cleared, AUC, Dice and false mL in a normal, of one training."""
    pe, normals = (where(patients, label=label) for label in (1, 0))
    area = metrics.auc(patients["label"].tolist(), patients["score"].tolist())
    overlap = metrics.mean(pe["dice"].tolist())
    counts = [f"{int(one.sum())} of {len(one)}" for one in (pe["decision"], 1 - normals["decision"])]
    return [*counts, with_interval(area), with_interval(overlap), f"{normals['predicted_ml'].mean():.1f}"]


def _difference_row(found: Comparison, adjusted: float | None) -> list[str]:
    fresh = "" if found.fresh_auc is None else with_interval(found.fresh_auc, "+.3f")
    student = "" if found.student["low"] is None else with_interval(found.student, "+.3f")
    seeds = ", ".join(map(str, found.seeds))
    areas = [with_interval(found.auc, "+.3f"), student, fresh]
    p = "" if adjusted is None else f"{adjusted:.2f}"
    return [f"`{found.versus}`", seeds, *areas, with_interval(found.dice, "+.3f"), p]


def _limit(difficulty: str) -> float:
    """AUC of the reference observer."""
    return _observer(difficulty, "auc")["all"]


def _observer(difficulty: str, metric: str) -> dict[str, float]:
    """The reference observer's figures by group of clots, at the phantom's own noise."""
    wanted = {"difficulty": difficulty, "metric": metric, "observer": "reference", "noise_factor": 1}
    return where(read("observer.csv", LIMITS), **wanted).set_index("group")["value"].to_dict()


def _outline(difficulty: str, cohort: str) -> float:
    """Dice of the reader who knows the patient's anatomy and blood."""
    wanted = {"difficulty": difficulty, "cohort": cohort, "reader": "knows anatomy and blood"}
    return where(read("outline.csv", LIMITS), **wanted)["value"].item()


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")
