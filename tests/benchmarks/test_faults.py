"""A short part of the bench of faults: nothing silently wrong, no traceback, no hang, nobody lost."""

import pytest

from benchmarks.faults.measure import WRONG, run, table

TEXTS = ("CSV", "YAML", "JSON: plan")


def wrong(found):
    return [(name, one) for name, ones in found.items() for one in ones if one.kind in WRONG]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_text(seed):
    found = {}
    run(found, 150, 0, seed, only=TEXTS)
    assert set(found) == set(TEXTS)
    assert wrong(found) == []
    assert table(found)[-1]["cases"] == sum(map(len, found.values())) == 33


@pytest.mark.slow
def test_damaged_scans_and_models_and_a_failing_machine():
    found = {}
    run(found, 60, 1, 3)
    assert wrong(found) == []
