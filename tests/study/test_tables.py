"""The kept tables: what they hold, how they are written, how large they are."""

import gzip

import numpy as np
import pandas as pd
import pytest

from cpmn.scoring.decision import lowest_threshold
from study.tables import CLOTS, PATIENTS, RESULTS, RUNS, patients_tested, read, write

MIB = 2**20


def test_the_kept_results_stay_small():
    assert sum(path.stat().st_size for path in RESULTS.rglob("*")) <= 2 * MIB


def test_the_same_table_gives_the_same_bytes(tmp_path):
    table = pd.DataFrame({"patient_id": ["a", "b"], "score": [0.25, np.nan]})
    first, second = tmp_path / "one.csv.gz", tmp_path / "two.csv.gz"
    write(table, first)
    write(table.assign(score=table["score"] + 1e-14), second)
    assert first.read_bytes() == second.read_bytes()
    pd.testing.assert_frame_equal(read("one.csv.gz", tmp_path), table)


@pytest.mark.parametrize("name", [RUNS, PATIENTS, CLOTS])
def test_each_table_is_kept_as_it_would_be_written(name, tmp_path):
    """Compared as text: another zlib packs the same text otherwise."""
    write(read(name), tmp_path / name)
    unpack = gzip.decompress if name.endswith(".gz") else bytes
    assert unpack((tmp_path / name).read_bytes()) == unpack((RESULTS / name).read_bytes())


def test_every_run_has_its_patients_and_clots_and_no_other_is_kept():
    runs = set(read(RUNS)[["difficulty", "run"]].itertuples(index=False, name=None))
    for name in (PATIENTS, CLOTS):
        assert set(read(name)[["difficulty", "run"]].itertuples(index=False, name=None)) == runs


def test_no_patient_stands_twice_in_a_cohort_of_a_run():
    assert not read(PATIENTS).duplicated(["difficulty", "run", "cohort", "patient_id"]).any()
    assert not read(CLOTS).duplicated(["difficulty", "run", "patient_id", "clot_id"]).any()


def test_decisions_follow_from_scores_and_the_threshold_of_the_run():
    patients = read(PATIENTS)
    assert ((patients["score"] >= patients["threshold"]) == patients["decision"].astype(bool)).all()
    assert (patients.groupby(["difficulty", "run"])["threshold"].nunique() == 1).all()


def test_each_threshold_is_fitted_on_the_calibration_cohort_alone():
    targets = read(RUNS).set_index(["difficulty", "run"])["specificity_target"].to_dict()
    for run, rows in read(PATIENTS).query("cohort == 'calibration'").groupby(["difficulty", "run"]):
        pe, normal = (rows.loc[rows["label"] == label, "score"].tolist() for label in (1, 0))
        assert rows["threshold"].iloc[0] == pytest.approx(lowest_threshold(normal, pe, targets[run]), abs=1e-9)


def test_clots_of_a_patient_add_up_to_the_reference_volume():
    clots = read(CLOTS).drop_duplicates(["difficulty", "patient_id", "clot_id"])
    ml = clots.groupby(["difficulty", "patient_id"])["ml"].sum()
    patients = read(PATIENTS).query("cohort == 'test' and label == 1").drop_duplicates(["difficulty", "patient_id"])
    reference = patients.set_index(["difficulty", "patient_id"])["reference_ml"]
    assert set(ml.index) == set(reference.index)
    assert (ml / reference).between(0.8, 1.25).mean() > 0.95


def test_patients_of_a_difficulty_are_those_of_its_test_cohort():
    patients = patients_tested("mixed")
    assert set(patients["cohort"]) == {"test"}
    assert patients.groupby("run")["label"].agg(["sum", "size"]).drop_duplicates().to_numpy().tolist() == [[150, 300]]


def test_patients_of_several_folders_are_apart_and_of_runs_that_read_all(tmp_path):
    for name, runs in (("first", ("a-s0", "b-s0")), ("second", ("b-s0", "c-s0"))):
        rows = [{"difficulty": "mixed", "cohort": "test", "run": run, "patient_id": "p", "score": 0.5} for run in runs]
        write(pd.DataFrame(rows), tmp_path / name / PATIENTS)
    found = patients_tested("mixed", (tmp_path / "first", tmp_path / "second"))
    assert found[["run", "patient_id"]].to_numpy().tolist() == [["b-s0", "first/p"], ["b-s0", "second/p"]]
