"""Clots found by volume and contrast: known answers."""

from typing import Any

import pytest

from benchmarks.evidence.clots import clot_rows, clots_found, confidence_limit
from benchmarks.evidence.scoring import case_of
from tests.benchmarks.conftest import record


def rows(*clots) -> list[dict[str, Any]]:
    names = ("patient_id", "ml", "contrast_hu", "found")
    return [dict(zip(names, clot, strict=True)) for clot in clots]


def normal(*confidences):
    case = record("n", 0, 0.0, 0.0)
    count = len(confidences)
    case["case"]["lesions"] |= {
        "component_voxels": [5] * count,
        "confidence": list(confidences),
        "points_mm": [[0.0] * 3] * count,
        "overlap": [[]] * count,
        "distance_mm": [[]] * count,
    }
    return case_of(case)


def test_one_false_mark_per_normal_sets_the_limit():
    """Marks 0.9, 0.8, 0.7, 0.6 in two normals: two lie above 0.7."""
    assert confidence_limit([normal(0.9, 0.6), normal(0.7, 0.8)]) == 0.7
    assert confidence_limit([normal(0.9), normal()]) == 0.0
    assert confidence_limit([]) == 0.0


def test_shares_are_counted_by_volume_and_by_contrast():
    found = clots_found(rows(("a", 0.05, 20, "1"), ("a", 0.2, -20, "0"), ("b", 2.0, 2, "0"), ("b", 0.2, 8, "1")))
    assert {name: (f["value"], f["n"]) for name, f in found.items() if f["n"]} == {
        "all": (0.5, 4),
        "0 to 0.1 mL": (1.0, 1),
        "0.1 to 0.3 mL": (0.5, 2),
        "1 mL or more": (0.0, 1),
        "within 5 HU": (0.0, 1),
        "5 to 15 HU brighter": (1.0, 1),
        "15 HU or more brighter": (1.0, 1),
        "15 HU or more darker": (0.0, 1),
    }


def test_over_two_seeds_a_share_is_the_mean_and_its_interval_that_of_as_many_patients():
    """The same clots read alike by a second seed say nothing new: same share, same interval."""
    one = rows(*(("abcd"[i % 4], 0.2, 20, "10011"[i % 5]) for i in range(16)))
    other = [row | {"found": "0"} for row in one]
    single, twice = clots_found(one)["all"], clots_found(one + one)["all"]
    assert (twice["value"], twice["low"], twice["high"]) == pytest.approx(
        (single["value"], single["low"], single["high"])
    )
    assert clots_found(one + other)["all"]["value"] == pytest.approx(single["value"] / 2)


@pytest.mark.parametrize(
    ("dice", "limit", "confidence", "found"), [(0.5, 0.8, 0.9, "1"), (0.5, 0.9, 0.9, "0"), (0.0, 0.0, "", "0")]
)
def test_a_clot_has_the_confidence_of_the_mark_that_touches_it(dice, limit, confidence, found):
    clot = {"id": 1, "ml": {"nct": 0.3}, "nct_hu_over_blood": -12.0}
    (row,) = clot_rows("test", case_of(record("a", 1, 0.0, dice)), [clot], limit)
    assert (row["ml"], row["contrast_hu"], row["confidence"], row["found"]) == (0.3, -12.0, confidence, found)
