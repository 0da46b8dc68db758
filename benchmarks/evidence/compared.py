"""Pairs of runs that the text speaks of, on the patients that both have read."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.evidence.markdown import number, signed, table
from benchmarks.evidence.plan import Plan, Role
from benchmarks.evidence.statistics import Readings, difference, draw, readings_of
from cpmn.evaluate.tables import read_table


def compared_lines(plan: Plan, results: Path) -> Iterator[str]:
    """Markdown lines: first minus second of each pair that the plan names under `compared`, if both are stored."""
    rows = []
    for first, second in plan.compared:
        paths = [results / name / "patients.csv" for name in (first, second)]
        if all(path.is_file() for path in paths):
            rows += [[first, second, *cells] for cells in _cells(*paths)]
    if rows:
        yield "### Pairs\n"
        yield "First minus second on a cohort that both have read, one training each; interval and p by bootstrap over"
        yield "patients. None of it is the primary endpoint.\n"
        yield from table(["first", "second", "cohort", "AUC", "p", "Dice", "p"], rows)


def _cells(first: Path, second: Path) -> Iterator[list[str]]:
    roles: tuple[Role, ...] = ("development", "opened", "test")
    for role in roles:
        one, other = (_readings(path, role) for path in (first, second))
        if one is None or other is None or one.patients != other.patients:
            continue
        draws = draw(one.pe.shape[1], one.normal.shape[1])
        found = [difference(what, one, other, draws) for what in ("auc", "dice")]
        yield [role, *(cell for estimate, p in found for cell in (signed(estimate), number(p)))]


def _readings(path: Path, role: Role) -> Readings | None:
    rows = [row for row in read_table(path) if row["split"] == role]
    return readings_of({0: rows}) if rows else None
