"""`cpmn` against its controls: means over seeds, differences, and the primary endpoint in words."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
    readings_of,
)

PRIMARY = "mixed"
DECIDING = ("nct_nct", "nct_only_long")  # controls that cpmn must be ahead of
VERSUS = (*DECIDING, "nct_only")  # the third is shown, and counts in Holm's family
UNDECIDED = "Primary endpoint: open until `cpmn` and both controls have been read with every seed of the plan."


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
    found = {(what, name): difference(what, *pair, draws) for what in ("auc", "dice") for name, pair in pairs.items()}
    adjusted = holm({name: found["dice", name][1] for name in pairs}) if len(pairs) == len(VERSUS) else {}
    yield "`cpmn` minus a control, over the seeds that both have; p of the bootstrap, for Dice (secondary)"
    yield "Holm's once all three controls are there:\n"
    rows = [
        [
            name,
            ", ".join(map(str, pair[0].seeds)),
            signed(found["auc", name][0]),
            number(found["auc", name][1]),
            signed(found["dice", name][0]),
            number(adjusted.get(name)),
        ]
        for name, pair in pairs.items()
    ]
    waiting = {name: "scored on other patients" if name in scored else NOT_RUN for name in VERSUS if name not in pairs}
    rows += [[name, reason, *[""] * 4] for name, reason in waiting.items()]
    yield from table(["cpmn minus", "seeds", "AUC", "p", "Dice", "p (Holm)"], rows)
    if (planned[0].difficulty, planned[0].judged) == (PRIMARY, "test"):
        seeds = {run.seed for run in planned if run.variant == "cpmn"}
        complete = all(name in pairs and seeds <= set(pairs[name][0].seeds) for name in DECIDING)
        differences = [found["auc", name][0] for name in DECIDING] if complete else None
        yield (verdict(differences) if differences else UNDECIDED) + "\n"


def verdict(differences: Sequence[Mapping[str, Any]]) -> str:
    """The primary endpoint in words: shown only if every difference's interval lies above zero."""
    shown = all(one["low"] is not None and one["low"] > 0 for one in differences)
    return (
        f"Primary endpoint: `cpmn` is {'ahead' if shown else 'not shown to be ahead'} of both controls in patient AUC."
    )


def same_patients(scored: Mapping[str, Readings]) -> dict[str, Readings]:
    """Those of the variants that have read the same patients as `cpmn`; none without it. The others wait."""
    first = scored.get("cpmn")
    return {name: readings for name, readings in scored.items() if first and readings.patients == first.patients}


def with_controls(readings: Mapping[str, Readings]) -> dict[str, tuple[Readings, Readings]]:
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
