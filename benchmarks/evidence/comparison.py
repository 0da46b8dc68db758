"""`cpmn` against its controls: means over seeds, differences, and the primary endpoint in words."""

from collections.abc import Iterator, Mapping, Sequence
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
    holm,
    of_common_seeds,
    of_seeds,
    readings_of,
    wider,
)
from cpmn.metrics import Estimate

PRIMARY = "mixed"
DECIDING = ("nct_nct", "nct_only_long")  # controls that cpmn must be ahead of
VERSUS = (*DECIDING, "nct_only")  # the third is shown, and counts in Holm's family
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
    yield "Means over seeds, intervals by bootstrap over patients and seeds (one seed: over patients alone):\n"
    yield from table(
        ["variant", "seeds", "AUC", "Dice"],
        [
            [name, str(len(r.seeds)), *(estimate(figure(what, r, draws)) for what in ("auc", "dice"))]
            for name, r in readings.items()
        ],
    )
    pairs = with_controls(readings)
    p_of_dice = {name: difference("dice", *pair, draws)[1] for name, pair in pairs.items()}
    adjusted = holm(p_of_dice) if len(pairs) == len(VERSUS) else {}
    yield "`cpmn` minus a control, over the seeds that both have; p of the bootstrap, for Dice (secondary)"
    yield "Holm's once all three controls are there. *Wider*: the interval by Student's t, which trusts few seeds less;"
    yield f"rows without seed {CHOSEN_WITH}, with which every choice was made, have no p:\n"
    rows = [_pair_row(name, pair, draws, adjusted.get(name)) for name, pair in pairs.items()]
    rows += [_unchosen_row(name, pair, draws) for name, pair in pairs.items() if _has_unchosen(pair)]
    waiting = {name: "scored on other patients" if name in scored else NOT_RUN for name in VERSUS if name not in pairs}
    rows += [[name, reason, *[""] * 5] for name, reason in waiting.items()]
    yield from table(["cpmn minus", "seeds", "AUC", "p", "wider", "Dice", "p (Holm)"], rows)
    if (planned[0].difficulty, planned[0].judged) == (PRIMARY, "test"):
        seeds = {run.seed for run in planned if run.variant == "cpmn"}
        complete = all(name in pairs and seeds <= set(pairs[name][0].seeds) for name in DECIDING)
        deciding = [pairs[name] for name in DECIDING] if complete else []
        found = [difference("auc", *pair, draws)[0] for pair in deciding]
        student = [wider("auc", *pair, draws) for pair in deciding]
        yield (verdict(found, student) if complete else UNDECIDED) + "\n"


def _pair_row(name: str, pair: Pair, draws: Draws, p_of_dice: float | None) -> list[str]:
    difference_of_auc, p = difference("auc", *pair, draws)
    seeds, student = ", ".join(map(str, pair[0].seeds)), wider("auc", *pair, draws)
    return [
        name,
        seeds,
        signed(difference_of_auc),
        number(p),
        signed(student) if student["low"] is not None else "",
        signed(difference("dice", *pair, draws)[0]),
        number(p_of_dice),
    ]


def _has_unchosen(pair: Pair) -> bool:
    return CHOSEN_WITH in pair[0].seeds and len(pair[0].seeds) > 1


def _unchosen_row(name: str, pair: Pair, draws: Draws) -> list[str]:
    seeds = [seed for seed in pair[0].seeds if seed != CHOSEN_WITH]
    row = _pair_row(name, (of_seeds(pair[0], seeds), of_seeds(pair[1], seeds)), draws, None)
    return [*row[:3], "", *row[4:]]


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
