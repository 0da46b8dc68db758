"""What a check found: passed, warned, refused, or overruled by a person who knows better."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from cpmn.checks.catalogue import CHECKS
from cpmn.errors import CpmnError, PatientError

logger = logging.getLogger(__name__)

Outcome = Literal["passed", "warned", "refused", "overruled"]


@dataclass(frozen=True)
class Finding:
    """What one check said of one thing.

    check : a name of `CHECKS`.
    seen : what was seen, with its figures, as a clause; without anything that identifies a patient.
    remedy : what to do about it, as an instruction; empty where it passed.
    """

    check: str
    outcome: Outcome
    seen: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """The fields that are not empty, for a record."""
        return {name: value for name, value in asdict(self).items() if value}


class Refused(CpmnError):
    """A check refused something; `finding` says what."""

    def __init__(self, finding: Finding):
        self.finding = finding
        super().__init__(f"{finding.seen}. {finding.remedy}")


def passed(check: str, seen: str = "") -> Finding:
    """The facts agree."""
    return Finding(_known(check), "passed", seen)


def failed(check: str, seen: str, remedy: str) -> Finding:
    """The facts disagree: refused, or warned of where the catalogue says that much alone."""
    return Finding(_known(check), "refused" if CHECKS[check].refuses else "warned", seen, remedy)


def doubtful(check: str, seen: str, remedy: str) -> Finding:
    """The facts may disagree, or cannot be compared: warned of, whatever the catalogue says of a failure."""
    return Finding(_known(check), "warned", seen, remedy)


def settle(findings: Iterable[Finding], overruled: Collection[str] = ()) -> list[Finding]:
    """The findings, those of `overruled` checks overruled, and each that did not pass in the log.

    Raises Refused for the first that was refused and not overruled.
    """
    settled = overrule(findings, overruled)
    for finding in settled:
        if finding.outcome != "passed":
            logger.warning("%s (%s): %s", finding.check, finding.outcome, finding.seen)
    for finding in settled:
        if finding.outcome == "refused":
            raise Refused(replace(finding, remedy=f"{finding.remedy} {_how_to_overrule(finding.check)}".strip()))
    return settled


def settle_patient(
    patient: str, findings: Iterable[Finding], overruled: Collection[str], file: Path | None
) -> list[Finding]:
    """`settle` for one patient's `file`: raises PatientError for what is refused."""
    try:
        return settle(findings, overruled)
    except Refused as refused:
        raise PatientError(patient, refused.finding.seen, refused.finding.remedy, file) from refused


def warnings_of(findings: Iterable[Finding]) -> list[str]:
    """What a reader of a result must be told: everything that did not pass."""
    return [finding.seen for finding in findings if finding.outcome != "passed"]


def overrule(findings: Iterable[Finding], overruled: Collection[str]) -> list[Finding]:
    """The findings, those refused by a check of `overruled` as overruled."""
    return [
        replace(one, outcome="overruled") if one.outcome == "refused" and one.check in overruled else one
        for one in findings
    ]


def _how_to_overrule(check: str) -> str:
    return f"If you know that it is right, overrule the check: {check} in the cohort's column overrule, or --overrule."


def _known(check: str) -> str:
    if check not in CHECKS:
        raise ValueError(f"no check '{check}' stands in the catalogue")
    return check
