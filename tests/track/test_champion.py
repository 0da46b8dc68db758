"""The alias `champion`: it moves where the interval says so, and nowhere else."""

import json

import pandas as pd
import pytest

from cpmn.config.evaluate import EvaluateConfig
from cpmn.errors import CpmnError
from cpmn.scoring.comparison import difference, paired_rows
from cpmn.track.champion import promote

pytestmark = pytest.mark.xdist_group("mlflow")

CONFIG = EvaluateConfig(bootstrap_samples=200)
GOOD, POOR = range(40), [(7 * n) % 40 for n in range(40)]  # scores; the latter 20 patients have PE


def patients(scores, first=0):
    """Rows of `patients.csv`: test patients, and a validation row that must not count."""
    rows = [
        {"patient_id": f"p{first + n}", "split": "test", "label": int(n >= 20), "score": score, "dice": score / 40}
        for n, score in enumerate(scores)
    ]
    rows.append({"patient_id": "v", "split": "validation", "label": 1, "score": -100, "dice": 0})
    return [{**row, "reference_ml": 1} for row in rows]


def run(folder, scores, weights="", **changes):
    """A finished run with these variants' scores."""
    for name, values in scores.items():
        folder.fold(name, weights=f"{name} {weights}".encode())
        folder.variant(name, patients(values))
    folder.track(*scores, **changes)
    return promote(folder.results, folder.results / "promote.json", metric="patient.auc", config=CONFIG)


def champion(folder):
    version = folder.client().get_model_version_by_alias("cpmn-tiny", "champion")
    return version.tags["variant"], version.version


def test_a_variant_that_is_better_beyond_chance_takes_the_place(folder):
    record = run(folder, {"cpmn": GOOD, "nct_only": POOR})
    assert champion(folder)[0] == "cpmn"
    assert record["moved"]
    assert "empty" in record["reason"]
    assert "cpmn is better than nct_only" in record["reason"]
    (compared,) = record["comparisons"]
    assert compared["difference"]["low"] > 0
    assert json.loads((folder.results / "promote.json").read_text()) == record


def test_a_variant_that_may_be_better_by_chance_does_not(folder):
    lucky = [*GOOD[:18], 22, 23, *GOOD[20:]]  # two normals score a little higher than two with PE
    record = run(folder, {"cpmn": GOOD, "nct_only": lucky})
    (compared,) = record["comparisons"]
    assert compared["difference"]["value"] > 0
    assert compared["difference"]["low"] <= 0
    assert champion(folder)[0] == "nct_only"
    assert "includes 0" in record["reason"]
    again = run(folder, {"cpmn": GOOD, "nct_only": lucky})
    assert not again["moved"]
    assert again["before"] == again["after"]


def test_a_later_run_has_to_beat_the_champion_of_an_earlier_one(folder):
    run(folder, {"cpmn": POOR, "nct_only": POOR})
    assert champion(folder) == ("nct_only", 2)
    worse = run(folder, {"cpmn": [40 - s for s in GOOD]}, weights="second", config_hash="second")
    assert not worse["moved"]
    assert champion(folder) == ("nct_only", 2)
    better = run(folder, {"cpmn": GOOD}, weights="third", config_hash="third")
    assert better["moved"]
    assert better["before"]["variant"] == "nct_only"
    assert champion(folder) == ("cpmn", 4)


def test_what_is_worse_beyond_chance_is_said_to_be(folder):
    record = run(folder, {"nct_only": GOOD, "cpmn": POOR})
    assert champion(folder)[0] == "nct_only"
    assert "and is worse" in record["reason"]


def test_dice_against_another_reference_is_not_compared(folder):
    """Labels that another setting carried: a Dice that differs is no other model."""
    record = {}
    for name, volume in (("nct_only", 1.0), ("cpmn", 2.0)):
        folder.fold(name)
        folder.variant(name, [row | {"reference": "propagated", "reference_ml": volume} for row in patients(GOOD)])
        folder.track(name, config_hash=name)
        record = promote(folder.results, folder.results / "promote.json", metric="voxel.dice", config=CONFIG)
    assert not record["moved"]
    assert record["comparisons"][0]["difference"]["value"] is None


def test_a_champion_of_other_data_is_not_compared_with(folder):
    run(folder, {"nct_only": POOR})
    record = run(folder, {"cpmn": GOOD}, data_hash="other")
    assert not record["moved"]
    assert "other data" in record["reason"]
    assert champion(folder)[0] == "nct_only"


def test_without_a_test_patient_in_common_nothing_moves(folder):
    run(folder, {"nct_only": POOR})
    folder.fold("cpmn")
    folder.variant("cpmn", patients(GOOD, first=100))
    folder.track("cpmn", config_hash="other split")
    record = promote(folder.results, folder.results / "promote.json", metric="patient.auc", config=CONFIG)
    assert not record["moved"]
    assert record["comparisons"][0]["difference"]["value"] is None


def test_without_a_server_the_champion_stays_and_it_is_said(folder):
    run(folder, {"nct_only": POOR})
    (folder.results / "promote.json").unlink()
    folder.move("http://127.0.0.1:9")
    with pytest.raises(CpmnError, match="The champion stays"):
        promote(folder.results, folder.results / "promote.json", metric="patient.auc", config=CONFIG)
    assert not (folder.results / "promote.json").exists()


@pytest.mark.parametrize(("metric", "expected", "count"), [("patient.auc", 1.0, 40), ("voxel.dice", 0.5, 20)])
def test_difference_is_that_of_the_metric_on_its_patients(metric, expected, count):
    good, bad = (pd.DataFrame(patients(scores)[:-1]).set_index("patient_id") for scores in (GOOD, list(reversed(GOOD))))
    figure, _ = difference(metric, paired_rows(good, bad), CONFIG)
    assert figure["value"] == pytest.approx(expected)
    assert figure["n"] == count
    assert difference(metric, paired_rows(good, good), CONFIG)[0]["value"] == 0
