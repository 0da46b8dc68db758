"""The trials and analyses in the document, and the pairs of runs that its text speaks of."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence.markdown import NOT_RUN, estimate, number, signed, table
from benchmarks.evidence.plan import Plan, Role, Run
from benchmarks.evidence.statistics import Readings, cohort_rows, difference, draw, readings_of


def trial_lines(runs: Sequence[Run], stored: Mapping[str, Any]) -> Iterator[str]:
    """Trials, from which a recipe is chosen, and analyses, from which nothing is."""
    parts = {
        "Trials": [run for run in runs if not run.analysis],
        "Analyses, for explanation alone": [run for run in runs if run.analysis],
    }
    heads = [
        "trial",
        "variant",
        "settings",
        "steps",
        "minutes",
        "validation AUC",
        "validation Dice",
        "AUC",
        "Dice",
        "AUC, opened",
        "Dice, opened",
    ]
    where = (
        "On the validation patients of the training cohort (propagated labels), on development cohort A and on the\n"
        "first locked cohort, once that was opened (truth).\n"
    )
    for title, part in parts.items():
        if part:
            yield f"### {title}\n"
            yield where
            yield from table(heads, [[*_trial_head(run), *_trial_cells(stored.get(run.name))] for run in part])


def _trial_head(run: Run) -> list[str]:
    changes = [run.recipe] * bool(run.recipe) + [f"{key} {value}" for key, value in run.settings.items()]
    return [run.name, run.label, ", ".join(changes) or "the recipe"]


def _trial_cells(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return [NOT_RUN] + [""] * 7
    training, figures = found["training"], found["figures"]
    checks = training["validation"]
    return [
        str(training["steps"]),
        f"{training['seconds'] / 60:.0f}",
        number(checks["auc"]),
        number(checks["dice"]),
        *(
            estimate(figures[role][part][name]) if role in figures else ""
            for role in ("development", "opened")
            for part, name in (("patient", "auc"), ("voxel", "dice"))
        ),
    ]


def compared_lines(plan: Plan, results: Path) -> Iterator[str]:
    """Markdown lines: first minus second of each pair that the plan names under `compared`, if both are stored."""
    rows = []
    for first, second in plan.compared:
        paths = [results / name / "patients.csv" for name in (first, second)]
        rows += [[first, second, *cells] for cells in _pair_cells(*paths)]
    if rows:
        yield "### Pairs\n"
        yield "First minus second on a cohort that both have read, one training each; interval and p by bootstrap over"
        yield "patients. None of it is the primary endpoint.\n"
        yield from table(["first", "second", "cohort", "AUC", "p", "Dice", "p"], rows)


def _pair_cells(first: Path, second: Path) -> Iterator[list[str]]:
    roles: tuple[Role, ...] = ("development", "opened", "test")
    for role in roles:
        one, other = (_readings(path, role) for path in (first, second))
        if one is None or other is None or one.patients != other.patients:
            continue
        draws = draw(one.pe.shape[1], one.normal.shape[1])
        found = [difference(what, one, other, draws) for what in ("auc", "dice")]
        yield [role, *(cell for estimate, p in found for cell in (signed(estimate), number(p)))]


def _readings(path: Path, role: Role) -> Readings | None:
    rows = cohort_rows(path, role)
    return readings_of({0: rows}) if rows else None
