"""The table of `docs/explanation.md`, from the stored figures: `python -m benchmarks.libraries.page` prints it."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

RESULTS = Path(__file__).parents[1] / "results" / "libraries.csv"
HEAD = "| job | library tried | figure | decision |\n|---|---|---|---|"


def table(path: Path = RESULTS) -> str:
    """Markdown: one line per trial, those whose library was taken first."""
    rows = pd.read_csv(path).sort_values("decision", ascending=False, kind="stable")
    return "\n".join([HEAD, *(_line(row) for row in rows.to_dict("records"))])


def _line(row: dict[Hashable, Any]) -> str:
    ratio, low, high = (_times(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
    time = f"{ratio} ({low} to {high}) times the time"
    return f"| {row['job']} | {row['library']} | {_difference(row)}{time} | **{row['decision']}**: {row['why']} |"


def _difference(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["difference"]):
        return ""
    return f"differs by {row['difference']:.2g} {row['unit']}; " if row["difference"] else "equal results; "


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


if __name__ == "__main__":
    print(table())
