"""Every check: what it holds against what, its limits, where they come from, and what follows.

The table of docs/reference/checks.md is written from here (`python -m cpmn.config.generate`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One check.

    of : scan, pair, mask or cohort.
    compares : the facts that are held against each other.
    limits : what is accepted, with the figures.
    source : where the limits come from.
    refuses : whether a failure stops the patient (or the run, for a cohort); else it is warned of.
    """

    of: str
    compares: str
    limits: str
    source: str
    refuses: bool = True


CHECKS: dict[str, Check] = {}
