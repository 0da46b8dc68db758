"""What the explanation says of libraries is what was measured, and decisions follow the rule."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.libraries import page, trial

PAGE = Path(__file__).parents[2] / "docs" / "explanation.md"


@pytest.fixture(scope="module")
def rows():
    return pd.read_csv(page.RESULTS)


def test_the_page_holds_the_stored_table():
    assert page.table() in PAGE.read_text()


def test_a_library_that_was_taken_says_the_same(rows):
    taken = rows[rows["decision"] == "taken"]
    assert len(taken) >= 4
    assert (taken["difference"] < 1e-5).all()


def test_what_was_taken_in_a_hot_path_is_fast_enough(rows):
    """Writing a table is not one: a job does it once, in 2 ms."""
    taken = rows[(rows["decision"] == "taken") & ~rows["job"].str.startswith("writing")]
    assert (taken["ratio"] <= 1.3).all()


def test_a_row_holds_difference_and_ratio(monkeypatch):
    monkeypatch.setattr(trial, "seconds_to_load", lambda _package: 0.5)
    numbers = list(range(2000))
    one = trial.Trial(
        "sum",
        "a slower one",
        "json",
        lambda: sum(numbers),
        lambda: sum(sum([n]) for n in numbers) + 2,
        taken=False,
        why="slower",
        difference=lambda ours, theirs: theirs - ours,
        unit="one",
    )
    row = trial.row(one)
    assert (row["difference"], row["unit"], row["decision"], row["load_s"]) == (2, "one", "kept ours", 0.5)
    assert 1 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]


def test_time_to_load_is_that_of_the_package():
    assert 3 * trial.seconds_to_load("json") < trial.seconds_to_load("pandas")
