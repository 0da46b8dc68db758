"""Who outlines the others: names, differences and the curve, from tables with known figures."""

import numpy as np
import pandas as pd
import pytest

from study.few import curve, differences, gains, together
from study.tables import PATIENTS, read, write
from study.uncertainty import dice

PATIENTS_OF_A_CLASS = 40


def rows(variant: str, seed: int, found: float, overlap: float) -> pd.DataFrame:
    """A training that scores the share `found` of the PE patients above, and the others level with, all normals."""
    n = PATIENTS_OF_A_CLASS
    label = np.repeat([1, 0], n)
    score = np.where(np.arange(2 * n) < round(found * n), 1.0, 0.0)
    return pd.DataFrame(
        {"patient_id": [f"p{i:03d}" for i in range(2 * n)], "label": label, "score": score}
        | {"difficulty": "mixed", "cohort": "test", "variant": variant, "run": f"{variant}-s{seed}", "seed": seed}
        | {"dice": np.where(label == 1, overlap, np.nan), "predicted_ml": 1.0 - label, "reference_ml": 2.0 * label}
        | {"noise_hu": 10.0}
    )


@pytest.fixture
def tables(tmp_path):
    trained = [rows("nct_only", 0, 1.0, 0.4), rows("nct_only-hard", 0, 1.0, 0.4)]
    for draw in range(3):
        trained += [rows("label_alone-k4", draw, 0.0, 0.1), rows("annotate-k4", draw, 0.5, 0.25)]
        trained += [rows("own-k4", draw, 0.25, 0.15), rows("annotate-k8", draw, 1.0, 0.4)]
        trained += [rows("own-k4-hard", draw, (0.75, 0.75, 0.25)[draw], 0.1).assign(predicted_ml=1.0 + draw)]
    write(pd.concat(trained), tmp_path / PATIENTS)
    return tmp_path


def test_each_is_held_against_those_before_it_and_all_outlines_at_the_same_number(tables):
    found = {(one, other): cells for k, one, other, *cells in differences("", tables) if k == "4"}
    assert list(found) == [("A", "E"), ("B", "A"), ("B", "E"), ("C", "A"), ("C", "B"), ("C", "E")]
    assert [cells[0] for cells in found.values()] == ["3 and 1", "3 and 3", "3 and 1", "3 and 3", "3 and 3", "3 and 1"]
    cells = found["C", "A"], found["C", "B"], found["C", "E"]
    assert [one[1].split()[0] for one in cells] == ["+0.250", "+0.125", "-0.250"]
    assert [one[3] for one in cells] == ["+0.150", "+0.100", "-0.150"]
    assert bool(found["C", "B"][2])
    assert not found["C", "E"][2]  # no draws in common
    assert ["8", "C", "E"] in [row[:3] for row in differences("", tables)]


def test_long_trainings_are_held_against_long_ones_and_a_long_against_all(tables):
    names = ("label_alone", "label_alone_long", "annotate_hard", "annotate_hard_long")
    trained = [rows(f"{name}-k4-wall", 0, 0.5, 0.3) for name in names]
    every = [rows(f"{name}-wall", 0, 0.5, 0.3) for name in ("nct_only", "nct_only_long")]
    write(pd.concat([*trained, *every]), tables / PATIENTS)
    pairs = [(row[1], row[2]) for row in differences(folder=tables)]
    assert pairs == [
        ("A", "E"),
        *(("A-long", other) for other in ("A", "E", "E-long")),
        *(("C+", other) for other in ("A", "A-long", "E")),
        *(("C+-long", other) for other in ("A-long", "E-long")),
    ]
    assert [point.outlined for point in curve(folder=tables)["nct_only_long"]] == [32]


def test_seeds_of_all_outlines_are_no_draws_though_they_have_the_same_numbers(tables):
    """C and E of 0.2 or 0.6 each, by chance in step: what they differ by is not known that well."""
    old = read(PATIENTS, tables).query("variant not in ('nct_only', 'annotate-k4')")
    both = [rows(name, n, 0.5, dice) for name in ("nct_only", "annotate-k4") for n, dice in enumerate((0.2, 0.6))]
    write(pd.concat([old, *both]), tables / PATIENTS)
    (found,) = (cells for k, one, other, *cells in differences("", tables) if (k, one, other) == ("4", "C", "E"))
    assert found[0] == "2 and 2"
    assert found[3] == "+0.000 (-0.400 to +0.400)"
    assert not found[2]


def test_without_any_outline_each_has_a_draw_of_its_own(tables):
    """Both trainings of C+ count, though A has none of draw 1; Student's t is of pairs."""
    more = [rows("annotate_hard-k0-hard", draw, 0.75, 0.3) for draw in range(2)]
    write(pd.concat([read(PATIENTS, tables), *more, rows("label_alone-k0-hard", 0, 0.5, 0.1)]), tables / PATIENTS)
    found = [row for row in differences("hard", tables) if row[0] == "0"]
    assert [(*row[1:4], row[4].split()[0], row[5]) for row in found] == [
        ("A", "E", "1 and 1", "-0.250", ""),
        ("C+", "A", "2 and 1", "+0.125", ""),
        ("C+", "E", "2 and 1", "-0.125", ""),
    ]


def test_who_has_no_outline_is_held_against_a_with_eight(tables):
    """A with eight finds three quarters, A and C+ without any a half and all."""
    more = [
        rows(f"{name}-hard", 0, found, 0.3)
        for name, found in (("label_alone-k8", 0.75), ("label_alone-k0", 0.5), ("annotate_hard-k0", 1.0))
    ]
    write(pd.concat([read(PATIENTS, tables), *more]), tables / PATIENTS)
    found = [row for row in differences("hard", tables) if row[2] == "A with 8 outlines"]
    assert [(row[0], row[1], row[4].split()[0]) for row in found] == [("0", "A", "-0.125"), ("0", "C+", "+0.125")]


def test_hard_negatives_are_held_against_the_same_without(tables):
    """B has all draws with and without them, E one training of each, C was not trained with them."""
    found = {name: cells for _, name, *cells in gains("", "hard", tables)}
    assert set(found) == {"B", "E"}
    assert [cell.split()[0] for cell in found["B"]] == ["3", "+0.167", "+0.167", "-0.050", "1.0"]
    assert found["B"][4] == "1.0 to 2.0"
    assert found["E"][2] == ""


def test_gains_of_hard_negatives_are_of_draws_that_both_have(tables):
    """Draw 2, which gained nothing, is lost without them."""
    old = read(PATIENTS, tables)
    write(old.query("run != 'own-k4-s2'"), tables / PATIENTS)
    found = {name: cells for _, name, *cells in gains("", "hard", tables)}
    assert found["B"][1].split()[0] == "+0.250"
    assert found["B"][4] == "1.0 to 1.5"


def test_gains_with_all_outlines_are_of_seeds_that_both_have(tables):
    """Two more seeds with hard negatives, which read worse, have none without to be held against."""
    more = [rows("nct_only-hard", seed, 0.0, 0.1).assign(predicted_ml=9.0) for seed in (1, 2)]
    write(pd.concat([read(PATIENTS, tables), *more]), tables / PATIENTS)
    found = {name: cells for _, name, *cells in gains("", "hard", tables)}
    assert found["E"] == ["1 and 1", "+0.000", "", "+0.000", "1.0 to 1.0"]


def test_the_curve_goes_from_few_outlines_to_all(tables):
    found = curve("", folder=tables)
    assert [point.outlined for point in found["annotate"]] == [4, 8]
    assert [point.outlined for point in found["nct_only"]] == [32]
    assert [point.trainings for point in found["own"]] == [3]
    assert [point.of(dice)["value"] for point in found["annotate"]] == pytest.approx([0.25, 0.4])
    assert set(curve("hard", tables)) == {"own", "nct_only"}


def test_dice_of_visible_clots_is_of_patients_who_have_any(tables):
    """Two draws of 0.2 and 0.4 in one half of the patients; the other half has nothing that the NCT shows."""
    assert all(point.visible is None for points in curve("", tables).values() for point in points)
    both = [rows("annotate-k4", draw, 0.5, 0.3).assign(dice_visible=value) for draw, value in enumerate((0.2, 0.4))]
    for one in both:
        one.loc[one.index % 2 == 0, "dice_visible"] = np.nan
    write(pd.concat(both), tables / PATIENTS)
    measured = read(PATIENTS, tables)
    write(pd.concat([measured, rows("own-k4", 0, 0.5, 0.3)]), tables / PATIENTS)
    assert curve("", tables)["own"][0].visible is None  # read before visible clots were measured
    (point,) = curve("", tables)["annotate"]
    assert point.visible is not None
    assert (point.visible["value"], point.visible["n"]) == (pytest.approx(0.3), PATIENTS_OF_A_CLASS // 2)


def test_networks_together_are_read_by_their_mean(tables):
    """Each of two draws misses one half of the patients with PE, and gives the other half all it has."""
    half = [rows("annotate_hard-k4-hard", draw, 0.5, 0.3) for draw in range(2)]
    turned = half[1]["label"].eq(1)
    half[1].loc[turned, "score"] = 1 - half[1].loc[turned, "score"]
    write(pd.concat([read(PATIENTS, tables), *half]), tables / PATIENTS)
    found = curve("hard", tables)
    (point,) = found["annotate_hard"]
    assert together(point).split()[0] == "1.000"
    assert not together(found["nct_only"][0])
    assert point.false_ml == "1.0"
