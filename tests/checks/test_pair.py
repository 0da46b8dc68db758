"""NCT against CTPA: whose they are and when they were taken."""

from datetime import datetime, timedelta

import pytest

from cpmn.checks.pair import check_pair
from cpmn.dicom.identity import Identity

NOON = datetime(2020, 1, 1, 12)


def identity(hours: float | None = 0.0, **keys) -> Identity:
    acquired = None if hours is None else NOON + timedelta(hours=hours)
    return Identity(**{"patient": "p", "study": "s", "frame_of_reference": "f", "acquired": acquired} | keys)


def outcomes(nct: Identity, ctpa: Identity) -> dict[str, str]:
    return {finding.check: finding.outcome for finding in check_pair(nct, ctpa, 24.0)[0]}


@pytest.mark.parametrize(
    ("hours", "outcome"),
    [(0.1, "passed"), (-0.9, "passed"), (6.0, "warned"), (-23.9, "warned"), (24.1, "refused"), (-17544.0, "refused")],
)
def test_the_interval(hours, outcome):
    assert outcomes(identity(), identity(hours)) == {"same_patient": "passed", "interval": outcome}


def test_two_patients_are_refused():
    assert outcomes(identity(), identity(patient="q"))["same_patient"] == "refused"


def test_the_record_holds_hours_and_no_date():
    _, facts = check_pair(identity(), identity(-1.5, study="t"), 24.0)
    assert facts == {
        "interval_hours": -1.5,
        "same_study": False,
        "same_frame_of_reference": True,
        "same_patient": True,
    }


def test_what_a_scan_does_not_say_is_asked_of_nobody():
    findings, facts = check_pair(identity(), Identity(), 24.0)
    assert findings == []
    assert set(facts.values()) == {None}


def test_the_message_speaks_of_days():
    (_, finding), _ = check_pair(identity(), identity(-2 * 365 * 24), 24.0)
    assert finding.seen == "the CTPA was taken 730 days before the NCT"
