"""The table of `docs/explanation.md`, from the stored figures: `python -m benchmarks.libraries.page` prints it."""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parents[1] / "results" / "libraries.csv"
HEAD = "| job | library tried | figure | decision |\n|---|---|---|---|"


def table(path: Path = RESULTS) -> str:
    """Markdown: one line per trial, those whose library was taken first."""
    rows = pd.read_csv(path).sort_values("decision", ascending=False, kind="stable")
    return "\n".join([HEAD, *(_line(row) for _, row in rows.iterrows())])


def _line(row: pd.Series) -> str:
    differs = "" if pd.isna(row["difference"]) else f"differs by {row['difference']:.2g} {row['unit']}; "
    time = f"{row['ratio']:.2g} ({row['ratio_low']:.2g} to {row['ratio_high']:.2g}) times the time"
    return f"| {row['job']} | {row['library']} | {differs}{time} | **{row['decision']}**: {row['why']} |"


if __name__ == "__main__":
    print(table())
