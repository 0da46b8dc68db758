"""What becomes of a finding: passed, warned of, refused, overruled."""

import pytest

from cpmn.checks.catalogue import CHECKS
from cpmn.checks.finding import Refused, doubtful, failed, passed, settle, warnings_of


def test_what_is_refused_names_the_way_to_overrule_it():
    with pytest.raises(Refused, match=r"^it is late\. Come earlier\. If you know .*: interval in the cohort's column"):
        settle([passed("contrast"), failed("interval", "it is late", "Come earlier.")])


def test_an_overruled_check_is_never_silent(caplog):
    caplog.set_level("WARNING", "cpmn")  # whatever a command set before
    settled = settle([failed("interval", "it is late", "Come earlier."), passed("contrast")], ["interval"])
    assert [finding.outcome for finding in settled] == ["overruled", "passed"]
    assert warnings_of(settled) == ["it is late"]
    assert "interval (overruled): it is late" in caplog.text
    assert settled[0].to_json() == {
        "check": "interval",
        "outcome": "overruled",
        "seen": "it is late",
        "remedy": "Come earlier.",
    }


def test_another_check_s_name_overrules_nothing():
    with pytest.raises(Refused):
        settle([failed("interval", "it is late", "Come earlier.")], ["contrast"])


def test_failures_of_a_check_that_does_not_refuse_are_warnings():
    assert failed("numbering", "two lack", "Export again.").outcome == "warned"
    assert doubtful("interval", "six hours", "Look.").outcome == "warned"


def test_only_checks_of_the_catalogue_speak():
    with pytest.raises(ValueError, match="no check 'mood'"):
        passed("mood")


def test_the_catalogue_says_everything_of_each_check():
    for name, check in CHECKS.items():
        assert check.of in ("scan", "pair", "mask", "cohort"), name
        assert all((check.compares, check.limits, check.source)), name
