"""Bootstrap over patients and seeds: known answers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cpmn.errors import CpmnError
from study.uncertainty import (
    Readings,
    auc,
    dice,
    difference,
    differences_by_seed,
    draw,
    found_where_cleared,
    of_common_seeds,
    of_seeds,
    readings_of,
    value_of,
    wider,
)


def readings(pe, normal, overlap=None, seeds=(0,)):
    pe, normal = np.atleast_2d(pe).astype(float), np.atleast_2d(normal).astype(float)
    overlap = np.zeros_like(pe) if overlap is None else np.atleast_2d(overlap).astype(float)
    names = tuple(tuple(f"{part}{i}" for i in range(one.shape[1])) for part, one in (("pe", pe), ("no", normal)))
    return Readings(tuple(seeds), pe, normal, overlap, names)  # pyright: ignore


def test_auc_counts_ties_half_and_is_averaged_over_seeds():
    both = readings([[1, 2], [0, 0]], [[0, 2], [0, 0]], seeds=(0, 1))
    assert auc(both) == pytest.approx((0.625 + 0.5) / 2)


def test_patients_are_found_where_each_training_clears_the_same_share():
    normal = [np.arange(20), np.arange(20)[::-1] * 10]  # 95 %: 19 of 20 lie at or below 18 and 180
    both = readings([[18, 18.5, 19, 40], [0, 180, 181, 30]], normal, seeds=(0, 1))
    assert found_where_cleared(both, 0.95).tolist() == [3, 1]
    assert found_where_cleared(both, 0.94).tolist() == [3, 1]  # part of a patient is a patient
    assert found_where_cleared(both, 1.0).tolist() == [1, 0]


def test_perfect_separation_gets_no_interval_rather_than_one_of_width_zero():
    found = value_of(auc, readings([3, 4, 5], [0, 1, 2]))
    assert (found["value"], found["low"], found["high"]) == (1.0, None, None)


def test_the_spread_over_patients_is_that_of_a_mean():
    values = np.random.default_rng(3).uniform(0, 1, 60)
    drawn = dice(readings(np.zeros(60), np.zeros(4), values), draw(60, 4))
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.003)
    assert drawn.std() == pytest.approx(values.std() / np.sqrt(60), rel=0.05)


def test_seeds_are_drawn_too():
    """Two seeds of constant Dice 0.2 and 0.6: draws give 0.2, 0.4 and 0.6 with probability 1/4, 1/2, 1/4."""
    drawn = dice(readings(np.zeros((2, 5)), np.zeros((2, 5)), [[0.2] * 5, [0.6] * 5], (0, 1)), draw(5, 5))
    shares = [float(np.isclose(drawn, value).mean()) for value in (0.2, 0.4, 0.6)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_a_variant_does_not_differ_from_itself_whatever_the_draw():
    random = np.random.default_rng(0)
    one = readings(random.normal(1, 1, (3, 20)), random.normal(0, 1, (3, 30)), seeds=(0, 1, 2))
    found, p = difference(auc, one, one)
    assert (found["value"], found["low"], found["high"], p) == (0.0, None, None, 1.0)


def test_seeds_are_drawn_apart_unless_they_belong_together():
    """Dice of 0.2 and 0.6 by the seed: in pairs both have the same draws of seeds, and differ nowhere."""
    one = readings(np.zeros((2, 5)), np.zeros((2, 5)), [[0.2] * 5, [0.6] * 5], (0, 1))
    assert difference(dice, one, one)[0]["low"] is None
    found, _ = difference(dice, one, one, paired=False)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.0, -0.4, 0.4))


@pytest.mark.parametrize("figure", [difference, wider])
def test_a_difference_of_other_patients_is_refused(figure):
    """As many, so that nothing else would tell."""
    one = readings([[1, 2], [1, 2]], [[0], [0]], seeds=(0, 1))
    other = replace(one, patients=(("pe0", "pe7"), ("no0",)))
    with pytest.raises(CpmnError, match="2 patients, pe1 first, were read by one variant alone"):
        figure(auc, one, other)
    turned = replace(one, patients=(("no0", "pe0"), ("pe1",)))
    with pytest.raises(CpmnError, match=r"2 patients, no0 first, .* or under another label"):
        figure(auc, one, turned)


def test_a_difference_in_every_patient_is_never_quite_certain():
    better, worse = (readings(np.zeros(8), np.zeros(8), np.full(8, value)) for value in (0.6, 0.5))
    found, p = difference(dice, better, worse)
    assert (found["value"], found["low"]) == (pytest.approx(0.1), None)
    assert p == pytest.approx(2 / 4001)


def test_variants_are_compared_over_the_seeds_that_both_have():
    """Seed 2, which the second lacks, must not enter the first's mean either."""
    first = readings([[1], [3], [9]], [[0], [0], [0]], [[0.1], [0.3], [0.9]], seeds=(0, 1, 2))
    second = readings([[5], [7]], [[0], [0]], [[0.5], [0.7]], seeds=(1, 3))
    a, b = of_common_seeds(first, second)
    assert (a.seeds, b.seeds) == ((1,), (1,))
    assert (a.pe.tolist(), b.pe.tolist()) == ([[3.0]], [[5.0]])
    assert (float(dice(a)), float(dice(b))) == (0.3, 0.5)


def test_few_seeds_are_trusted_as_far_as_students_t_goes():
    """Seeds differ by 0.2, 0.4 and 0.6 in every patient: 0.4 +- 4.3027 (t, 2 degrees) x 0.2 / sqrt 3."""
    seeds = (0, 1, 2)
    first = readings(np.zeros((3, 5)), np.zeros((3, 5)), [[0.2] * 5, [0.4] * 5, [0.6] * 5], seeds)
    second = readings(np.zeros((3, 5)), np.zeros((3, 5)), np.zeros((3, 5)), seeds)
    found = wider(dice, first, second)
    half = 4.30265 * 0.2 / 3**0.5
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.4, 0.4 - half, 0.4 + half), abs=1e-4)
    alone = wider(dice, *of_common_seeds(of_seeds(first, [0]), second))
    assert (alone["value"], alone["low"]) == (pytest.approx(0.2), None)


def test_where_seeds_agree_the_wider_interval_is_that_over_patients():
    """60 patients of Dice uniform in 0 to 1, read alike by three seeds: mean +- t (59 degrees) x SD / sqrt 60."""
    values = np.random.default_rng(3).uniform(0, 1, 60)
    first = readings(np.zeros((3, 60)), np.zeros((3, 4)), np.tile(values, (3, 1)), (0, 1, 2))
    second = readings(np.zeros((3, 60)), np.zeros((3, 4)), np.zeros((3, 60)), (0, 1, 2))
    found = wider(dice, first, second)
    assert found["high"] is not None
    assert found["high"] - values.mean() == pytest.approx(2.001 * values.std() / 60**0.5, rel=0.04)


def test_differences_by_seed_are_those_of_single_trainings():
    first = readings([[1], [3]], [[0], [0]], [[0.1], [0.3]], seeds=(0, 1))
    second = readings([[1], [3]], [[2], [0]], [[0.5], [0.1]], seeds=(0, 1))
    assert differences_by_seed(auc, first, second).tolist() == [1.0, 0.0]
    assert differences_by_seed(dice, first, second).tolist() == pytest.approx([-0.4, 0.2])


def rows(seed, *patients, noise=12.0):
    names = ("patient_id", "label", "score", "dice")
    made = {"seed": seed, "reference_ml": 1.0, "noise_hu": noise}
    return pd.DataFrame([dict(zip(names, patient, strict=True)) | made for patient in patients])


def test_readings_keep_patients_apart_by_class_and_an_absent_dice_is_zero():
    found = readings_of(rows(0, ("a", 1, 0.9, np.nan), ("b", 0, 0.1, np.nan), ("c", 1, 0.8, 0.5)))
    assert found.pe.tolist() == [[0.9, 0.8]]
    assert found.normal.tolist() == [[0.1]]
    assert found.dice.tolist() == [[0.0, 0.5]]
    assert found.patients == (("a", "c"), ("b",))


@pytest.mark.parametrize(
    "other", [rows(1, ("b", 1, 1.0, 0.0)), rows(1, ("a", 1, 1.0, 0.0), noise=12.1), rows(1, ("a", 0, 1.0, 0.0))]
)
def test_seeds_that_read_different_patients_are_refused(other):
    with pytest.raises(ValueError, match="different patients"):
        readings_of(pd.concat([rows(0, ("a", 1, 1.0, 0.0)), other]))


def test_the_order_of_rows_does_not_matter():
    tables = [rows(n, ("a", 1, float(n), n / 10), ("b", 0, 0.5, np.nan)) for n in (0, 1, 2)]
    listed, turned = readings_of(pd.concat(tables)), readings_of(pd.concat(tables[::-1]).iloc[::-1])
    assert listed.seeds == turned.seeds == (0, 1, 2)
    assert (listed.pe == turned.pe).all()
    assert (listed.dice == turned.dice).all()


def test_variants_with_the_same_seeds_are_drawn_alike_and_others_apart():
    draws = draw(4, 4)
    assert (draws.of_seeds((0, 1, 2)) == draws.of_seeds((0, 1, 2))).all()
    assert (draws.of_seeds((0, 1, 2)) != draws.of_seeds((3, 4, 5))).any()
    assert (draws.of_seeds((7,)) == 1).all()
    assert (draws.of_seeds((0, 1, 2)) != draws.apart().of_seeds((0, 1, 2))).any()
    assert (draws.pe == draws.apart().pe).all()
