"""That docs/benchmark.md says what the stored results say."""

import re
from pathlib import Path

import pytest

from benchmarks.evidence import table
from benchmarks.evidence.plan import load_plan

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmark.md"
TEXT, RESULTS = DOCUMENT.read_text(encoding="utf-8").split(table.BEGIN)


def differences() -> set[float]:
    """All figures of the table of pairs: differences and the ends of their intervals."""
    section = RESULTS.split("### Pairs")[1].split("\n### ")[0]
    return {float(value) for value in re.findall(r"[+-]\d\.\d{3}", section)}


def test_every_linked_difference_of_the_text_stands_in_the_table_of_pairs():
    linked = [float(value) for value in re.findall(r"\[(-?\d\.\d{3})\]\(#pairs\)", TEXT)]
    known = {abs(value) for value in differences()}
    assert linked
    assert [value for value in linked if abs(value) not in known] == []


def test_links_within_the_document_lead_somewhere():
    heads = re.findall(r"^#+ (.+)$", TEXT + RESULTS, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


@pytest.mark.slow
def test_the_results_are_those_of_the_command():
    assert RESULTS.strip() == "\n".join(table.lines(load_plan())).strip()
