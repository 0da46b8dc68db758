"""From a run to the kept tables: names, what counts as found, what is refused. `test_snakefile` keeps a real run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpmn.errors import CpmnError
from cpmn.files import write_json, write_table
from cpmn.scoring.lesions import match_lesions
from study.keep import Run, _clot_rows, confidence_limit, find_runs, joined
from study.tables import CLOTS, PATIENTS, RUNS, read

MM = (10.0, 10.0, 10.0)  # a voxel holds 1 mL


def marks(probability: list[float], clots: list[int]):
    """One row of voxels; each that has a probability is a mark of its own, as many mL as the probability."""
    values = np.array(probability)
    labels = np.where(values > 0, np.cumsum(values > 0), 0)
    return match_lesions(labels.reshape(1, 1, -1), np.array(clots).reshape(1, 1, -1), MM, values.reshape(1, 1, -1))


def test_the_limit_lets_one_false_mark_pass_per_normal():
    normals = [marks([0.9, 0, 0.4], [0, 0, 0]), marks([0.7, 0, 0.2], [0, 0, 0])]
    assert confidence_limit(normals) == pytest.approx(0.4)
    assert confidence_limit(normals[:1]) == pytest.approx(0.4)
    assert confidence_limit([marks([0.9, 0, 0], [0, 0, 0])]) == confidence_limit([]) == 0.0


def test_a_clot_is_as_sure_as_the_surest_mark_that_touches_it():
    facts = [{"id": n, "ml": {"nct": n / 10}, "nct_hu_over_blood": 20.0 - n} for n in (1, 2, 3)]
    run = Run(Path(), "cpmn-s1", "cpmn", 1, "mixed", {"test-007": {"clots": facts}})
    lesions = marks([0.6, 0.9, 0, 0.3, 0], [1, 1, 0, 2, 3])
    rows = _clot_rows(run, {"test-007": lesions}, limit=0.4)
    assert [(row["clot_id"], row["found"], row["ml"], row["contrast_hu"]) for row in rows] == [
        (1, 1, 0.1, 19.0),
        (2, 0, 0.2, 18.0),
        (3, 0, 0.3, 17.0),
    ]
    assert [row["confidence"] for row in rows] == pytest.approx([0.9, 0.3, np.nan], nan_ok=True)
    assert {(row["run"], row["patient_id"], row["difficulty"]) for row in rows} == {("cpmn-s1", "phantom-007", "mixed")}


def tables_with(changes: dict | None = None) -> tuple[dict, dict]:
    """The stored tables, and the rows of a further seed of `cpmn` in them, some values of its patients changed."""
    old = {name: read(name) for name in (RUNS, PATIENTS, CLOTS)}
    new = {}
    for name, table in old.items():
        own = table.loc[(table["difficulty"] == "mixed") & (table["run"] == "cpmn-s0")]
        new[name] = own.assign(run="cpmn-s9", **({"seed": 9} if "seed" in own else {}))
    new[PATIENTS] = new[PATIENTS].assign(**(changes or {}))
    return old, new


def test_rows_of_a_patient_stand_together_and_the_others_stay():
    old, new = tables_with()
    both = joined(old, new)
    for name, table in both.items():
        again = table.loc[table["run"] != "cpmn-s9"].reset_index(drop=True)
        pd.testing.assert_frame_equal(again, old[name])
        assert len(table) == len(old[name]) + len(new[name])
    first = both[PATIENTS].query("difficulty == 'mixed' and cohort == 'test' and patient_id == 'phantom-001'")
    assert np.ptp(first.index.to_numpy()) == len(first) - 1


@pytest.mark.parametrize("column", ["label", "reference_ml", "noise_hu"])
def test_other_patients_of_the_same_names_are_refused(column):
    old, new = tables_with({column: lambda table: table[column] + 1})
    with pytest.raises(CpmnError, match=r"360 patients, phantom-001 first, are not those of the kept tables"):
        joined(old, new)


def study(folder: Path, part: str, ctpa: bool = True) -> Path:
    """Sheet and phantoms of a study of two patients, one evaluated training; its results folder."""
    rows = []
    for name, split in (("train-001", "train"), (f"{part}-001", "test")):
        files = {"ctpa": f"{name}/ctpa" if ctpa and split == "train" else "", "nct": f"{name}/nct"}
        rows.append({"patient_id": name, **files, "ctpa_mask": "", "label": 0, "split": split})
        write_json(folder / name / "phantom.json", {"difficulty": "mixed"})
    write_table(folder / "cohort.csv", list(rows[0]), rows)
    return folder / "results"


def test_a_run_that_judged_other_patients_is_refused(tmp_path):
    with pytest.raises(CpmnError, match=r"judged development\. Only readings of the test cohort are kept"):
        find_runs(study(tmp_path, "development"))


def test_a_run_without_an_evaluation_is_refused(tmp_path):
    with pytest.raises(CpmnError, match="holds no evaluated training"):
        find_runs(study(tmp_path, "test"))


@pytest.mark.parametrize(("ctpa", "name"), [(True, "nct_only-s2"), (False, "nct_only_truth-s2")])
def test_names_say_variant_seed_and_whether_labels_were_exact(tmp_path, monkeypatch, ctpa, name):
    results = study(tmp_path, "test", ctpa)
    write_json(results / "evaluate/nct_only-s2/metrics.json", {})
    monkeypatch.setattr("study.keep.read_plan", lambda folder: type("Plan", (), {"seed": 2}))
    (run,) = find_runs(results)
    assert (run.name, run.difficulty, run.folder) == (name, "mixed", "nct_only-s2")
