"""`cpmn` against its controls: means over seeds, differences, and the primary endpoint in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.evidence.markdown import NOT_RUN, estimate, number, signed, table
from benchmarks.evidence.plan import Run
from benchmarks.evidence.statistics import (
    Draws,
    Readings,
    cohort_rows,
    difference,
    draw,
    figure,
    found_where_cleared,
    holm,
    of_common_seeds,
    of_seeds,
    readings_of,
    wider,
)
from cpmn.scoring.metrics import Estimate

PRIMARY = "mixed"
DECIDING = ("nct_nct", "nct_only_long")  # controls that cpmn must be ahead of
VERSUS = (*DECIDING, "nct_only")  # the third is shown, and counts in Holm's family
LONGER = ("nct_only_long", "nct_only")  # what more steps of one pathway bring; exploratory
CLEARED = 0.95
CHOSEN_WITH = 0  # seed of every trial; its runs of the chosen recipe are trials read again
UNDECIDED = "Primary endpoint: open until `cpmn` and both controls have been read with every seed of the plan."

Pair = tuple[Readings, Readings]


def comparison_lines(stored: Sequence[Run], planned: Sequence[Run], results: Path) -> Iterator[str]:
    """Means over seeds by variant, and `cpmn` against the controls, from those runs of a cohort that are stored."""
    scored = variant_readings(stored, results)
    readings = same_patients(scored)
    if len(readings) < 2:
        return
    draws = draws_of(readings)
    yield from _means(readings, draws)
    pairs = with_controls(readings)
    found = {name: _compare(pair, draws) for name, pair in pairs.items()}
    waiting = {name: "scored on other patients" if name in scored else NOT_RUN for name in VERSUS if name not in pairs}
    yield from _controls(pairs, found, waiting, draws)
    if (planned[0].difficulty, planned[0].judged) == (PRIMARY, "test"):
        seeds = {run.seed for run in planned if run.variant == "cpmn"}
        complete = all(name in pairs and seeds <= set(pairs[name][0].seeds) for name in DECIDING)
        deciding = [found[name] for name in DECIDING] if complete else []
        words = verdict([one.auc for one in deciding], [one.student for one in deciding]) if complete else UNDECIDED
        yield words + "\n"
    if all(name in readings for name in LONGER):
        pair = of_common_seeds(*(readings[name] for name in LONGER))
        if pair[0].seeds:
            yield _longer_line(_compare(pair, draws))


def _means(readings: Mapping[str, Readings], draws: Draws) -> Iterator[str]:
    yield "Means over seeds, intervals by bootstrap over patients and seeds (one seed: over patients alone). Last, how"
    yield f"many PE patients score above {CLEARED:.0%} of the others, by seed: by their own thresholds they clear"
    yield "different shares.\n"
    yield from table(
        ["variant", "seeds", "AUC", "Dice", f"PE found, {CLEARED:.0%} cleared"],
        [
            [
                name,
                str(len(r.seeds)),
                *(estimate(figure(what, r, draws)) for what in ("auc", "dice")),
                ", ".join(map(str, found_where_cleared(r, CLEARED))),
            ]
            for name, r in readings.items()
        ],
    )


def _controls(
    pairs: Mapping[str, Pair], found: Mapping[str, "_Compared"], waiting: Mapping[str, str], draws: Draws
) -> Iterator[str]:
    adjusted = holm({name: one.p_of_dice for name, one in found.items()}) if len(pairs) == len(VERSUS) else {}
    yield "`cpmn` minus a control, over the seeds that both have; p of the bootstrap, for Dice (secondary)"
    yield "Holm's once all three controls are there. *Wider*: the interval by Student's t, which trusts few seeds less;"
    yield f"rows without seed {CHOSEN_WITH}, with which every choice was made, have no p:\n"
    rows = [_row(name, one, number(one.p), number(adjusted.get(name))) for name, one in found.items()]
    rows += [_row(name, _compare(part, draws)) for name, pair in pairs.items() if (part := _without_chosen(pair))]
    rows += [[name, reason, *[""] * 5] for name, reason in waiting.items()]
    yield from table(["cpmn minus", "seeds", "AUC", "p", "wider", "Dice", "p (Holm)"], rows)


@dataclass(frozen=True)
class _Compared:
    """One variant minus another over `seeds`: AUC with its p and its wider interval, Dice with its p."""

    seeds: tuple[int, ...]
    auc: Estimate
    p: float
    student: Estimate
    dice: Estimate
    p_of_dice: float


def _compare(pair: Pair, draws: Draws) -> _Compared:
    student = wider("auc", *pair, draws)
    return _Compared(pair[0].seeds, *difference("auc", *pair, draws), student, *difference("dice", *pair, draws))


def _longer_line(found: _Compared) -> str:
    first, second = LONGER
    seeds, wide = ", ".join(map(str, found.seeds)), f", wider {signed(found.student)}"
    figures = f"AUC {signed(found.auc)}{wide if len(found.seeds) > 1 else ''}; Dice {signed(found.dice)}"
    return f"Exploratory, no part of the endpoint: `{first}` minus `{second}`, seeds {seeds}: {figures}.\n"


def _row(name: str, found: _Compared, p: str = "", p_of_dice: str = "") -> list[str]:
    seeds, student = ", ".join(map(str, found.seeds)), found.student
    interval = signed(student) if student["low"] is not None else ""
    return [name, seeds, signed(found.auc), p, interval, signed(found.dice), p_of_dice]


def _without_chosen(pair: Pair) -> Pair | None:
    """The pair without the seed of all choices; None where it does not have it, or no other."""
    seeds = [seed for seed in pair[0].seeds if seed != CHOSEN_WITH]
    return (of_seeds(pair[0], seeds), of_seeds(pair[1], seeds)) if 0 < len(seeds) < len(pair[0].seeds) else None


def verdict(differences: Sequence[Estimate], student: Sequence[Estimate]) -> str:
    """The primary endpoint in words: shown only if every difference's interval lies above zero; by `student`, the same
    with wider intervals, it is borne out or not."""
    shown, firm = (all(above_zero(one) for one in found) for found in (differences, student))
    words = "ahead" if shown else "not shown to be ahead"
    doubt = "" if firm or not shown else " The wider intervals do not bear it out."
    return f"Primary endpoint: `cpmn` is {words} of both controls in patient AUC.{doubt}"


def above_zero(found: Estimate) -> bool:
    """Whether the whole interval lies above zero."""
    return found["low"] is not None and found["low"] > 0


def same_patients(scored: Mapping[str, Readings]) -> dict[str, Readings]:
    """Those of the variants that have read the same patients as `cpmn`; none without it. The others wait."""
    first = scored.get("cpmn")
    return {name: readings for name, readings in scored.items() if first and readings.patients == first.patients}


def with_controls(readings: Mapping[str, Readings]) -> dict[str, Pair]:
    """`cpmn` and a control by the seeds that both have, by control."""
    pairs = {name: of_common_seeds(readings["cpmn"], readings[name]) for name in VERSUS if name in readings}
    return {name: pair for name, pair in pairs.items() if pair[0].seeds}


def draws_of(readings: Mapping[str, Readings]) -> Draws:
    """The same draws of patients for all."""
    return draw(readings["cpmn"].pe.shape[1], readings["cpmn"].normal.shape[1])


def variant_readings(runs: Sequence[Run], results: Path) -> dict[str, Readings]:
    """Test readings by variant, of the runs given."""
    tables: dict[str, dict[int, list[dict[str, str]]]] = {}
    for run in runs:
        rows = cohort_rows(results / run.name / "patients.csv", run.judged)
        if rows:
            tables.setdefault(run.label, {})[run.seed] = rows
    return {variant: readings_of(by_seed) for variant, by_seed in tables.items()}
