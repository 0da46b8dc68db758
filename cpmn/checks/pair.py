"""The two scans of a patient against each other: whose they are, and when they were taken."""

from typing import Any

from cpmn.checks.finding import Finding, doubtful, failed, passed
from cpmn.dicom.choice import spoken_interval
from cpmn.dicom.identity import Identity

SAME_SCAN = (
    "the NCT and the CTPA are one and the same scan",
    "Correct the paths, or name the series of each in nct_series and ctpa_series.",
)
"""What is wrong, and what to do."""
SOON_HOURS = 1.0  # SPTA's 'perfect' pairs; its 'good' ones are within 12 hours (domain facts)


def check_pair(nct: Identity, ctpa: Identity, maximum_hours: float) -> tuple[list[Finding], dict[str, Any]]:
    """Findings of a pair, and what its record holds: hours from NCT to CTPA, same study, same frame of reference.

    What a scan does not say (an image file says nothing) is None and gives no finding.
    """
    hours = hours_between(nct, ctpa)
    facts = {
        "interval_hours": None if hours is None else round(hours, 2),
        "same_study": same(nct.study, ctpa.study),
        "same_frame_of_reference": same(nct.frame_of_reference, ctpa.frame_of_reference),
        "same_patient": same(nct.patient, ctpa.patient),
    }
    return [*_patient(facts["same_patient"]), *_interval(hours, maximum_hours)], facts


def _patient(same: bool | None) -> list[Finding]:
    if same is None:
        return []
    if same:
        return [passed("same_patient")]
    seen = "the NCT and the CTPA are of different patients, by their patient numbers"
    return [failed("same_patient", seen, "Give both scans of one patient; correct the paths.")]


def _interval(hours: float | None, maximum_hours: float) -> list[Finding]:
    if hours is None:
        return []
    seen = f"the CTPA was taken {spoken_interval(abs(hours))} {'after' if hours >= 0 else 'before'} the NCT"
    if abs(hours) > maximum_hours:
        remedy = "Give the scans of one visit, or raise convert.maximum_interval_hours."
        return [failed("interval", seen, remedy)]
    if abs(hours) > SOON_HOURS:
        return [doubtful("interval", seen, "Clots may have moved or dissolved between the scans.")]
    return [passed("interval", seen)]


def hours_between(nct: Identity, ctpa: Identity) -> float | None:
    """Hours from the NCT to the CTPA; None where one does not say when it was taken."""
    if nct.acquired is None or ctpa.acquired is None:
        return None
    return (ctpa.acquired - nct.acquired).total_seconds() / 3600


def same(first: str, second: str) -> bool | None:
    """Whether two hashes are equal; None where one is empty."""
    return first == second if first and second else None
