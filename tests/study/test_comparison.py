"""`cpmn` against its controls: the kept figures, and the primary endpoint."""

import pytest

from study.comparison import CONTROLS, DECIDING, Comparison, compared, variants
from study.uncertainty import auc

HEADLINE = {
    "nct_nct": (-0.006, -0.024, 0.012),
    "nct_only_long": (-0.028, -0.055, -0.003),
    "nct_only": (-0.006, -0.024, 0.011),
    "no_ifa": (0.009, -0.010, 0.030),
}
"""Differences in AUC as published at commit 032f1bd, from the tables that these were made of."""


@pytest.fixture(scope="module")
def found() -> dict[str, Comparison]:
    return {one.versus: one for one in compared()}


def test_compact_tables_give_the_figures_that_were_published(found):
    rounded = {name: tuple(round(found[name].auc[key], 3) for key in ("value", "low", "high")) for name in HEADLINE}
    assert rounded == HEADLINE
    areas = {name: round(float(auc(one)), 3) for name, one in variants("mixed").items()}
    assert [areas[name] for name in ("cpmn", *CONTROLS)] == [0.837, 0.843, 0.865, 0.843]


def test_the_primary_endpoint_is_not_met(found):
    """Both intervals would have to lie above zero. That is what the page's answer says."""
    assert not all(found[name].auc["low"] > 0 for name in DECIDING)


def test_only_variants_of_several_trainings_have_an_interval_over_them(found):
    for name, one in found.items():
        several = name in CONTROLS
        assert one.seeds == ((0, 1, 2) if several else (0,))
        assert (one.student["low"] is not None) is (one.fresh_auc is not None) is several


def test_a_difference_is_the_mean_of_its_trainings(found):
    for one in found.values():
        assert one.auc["value"] == pytest.approx(sum(one.by_seed) / len(one.by_seed))
        assert one.student["value"] == pytest.approx(one.auc["value"])
