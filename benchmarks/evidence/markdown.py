"""Figures and tables in Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NOT_RUN = "not run"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table, with an empty one after it."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""


def share(found: Mapping[str, Any]) -> str:
    """A share as counts with its interval; empty if it is not defined."""
    if found["value"] is None:
        return ""
    hits = round(found["value"] * found["n"])
    return f"{hits}/{found['n']} ({found['low']:.3f}-{found['high']:.3f})"


def estimate(found: Mapping[str, Any], form: str = ".3f") -> str:
    """A value with its interval, unless that has no width (no draw differed); empty if it is not defined."""
    if found["value"] is None:
        return ""
    wide = found["low"] is not None and found["low"] != found["high"]
    interval = f" ({found['low']:{form}} to {found['high']:{form}})" if wide else ""
    return f"{found['value']:{form}}{interval}"


def signed(found: Mapping[str, Any]) -> str:
    """A difference with its interval."""
    return estimate(found, "+.3f")


def number(value: float | None) -> str:
    """Three digits; empty for None."""
    return "" if value is None else f"{value:.3g}"
