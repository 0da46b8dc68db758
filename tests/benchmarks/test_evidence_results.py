"""From patients' records to stored results and to the table."""

import shutil

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from mlflow.tracking import MlflowClient

from benchmarks.evidence import comparison, scoring, table, tracking, training
from benchmarks.evidence.cohorts import make_patient, write_sheets
from benchmarks.evidence.jobs import list_jobs
from benchmarks.evidence.plan import cohort_patients
from benchmarks.evidence.scoring import case_of, missing_scores, store_results
from cpmn.config.evaluate import EvaluateConfig
from cpmn.config.phantom import PhantomConfig
from cpmn.files import read_json
from cpmn.phantom.stage import write_cohort, write_truth
from cpmn.scoring.agreement import summarise
from cpmn.scoring.metrics import estimate
from cpmn.volume.images import read_image
from tests.benchmarks.conftest import VALUES, finish, make_plan, record

TINY = PhantomConfig(nct_spacing=(5.0, 5.0, 6.0), subsample_mm=4.0, seed=5)


def missing(plan) -> list[str]:
    return [job.name.split()[0] for job in list_jobs(plan) if not job.is_done()]


def test_patients_are_those_of_the_truth_only_phantom(tmp_path):
    facts = make_patient(TINY, "phantom-002", tmp_path / "ours")
    write_truth(TINY, "phantom-002", tmp_path / "theirs")
    truth, native = read_image(tmp_path / "ours" / "truth.nii.gz"), read_image(tmp_path / "theirs" / "nct.nii.gz")
    expected = read_image(tmp_path / "theirs" / "nct_truth.nii.gz")
    assert (sitk.GetArrayFromImage(truth) == sitk.GetArrayFromImage(expected)).all()
    x, y, z = facts["box"]["start"]
    nx, ny, nz = facts["box"]["size"]
    crop = sitk.GetArrayFromImage(read_image(tmp_path / "ours" / "nct.nii"))
    assert (crop == sitk.GetArrayFromImage(native)[z : z + nz, y : y + ny, x : x + nx]).all()


def test_training_sheets_have_the_fixed_split_and_exact_ones_no_ctpa(tmp_path):
    plan = make_plan()
    write_cohort(TINY.model_copy(update={"patients": 4}), tmp_path)
    split = pd.read_csv(write_sheets(plan, tmp_path, exact=False))
    exact = pd.read_csv(write_sheets(plan, tmp_path, exact=True))
    assert split["split"].tolist() == ["train", "train", "validation", "validation"]
    assert exact["split"].tolist() == split["split"].tolist()
    assert exact["ctpa"].isna().to_numpy().all()
    assert exact["nct_mask"].notna().to_numpy().all()


def test_stored_records_give_the_figures_of_the_cases_themselves():
    cases = [case_of(record(name, label, 0.0, 0.5 * label)) for name, label in (("a", 1), ("b", 0), ("c", 1))]
    figures = summarise(cases, {}, EvaluateConfig.model_validate({"bootstrap_samples": 100}))
    assert figures["voxel"]["dice"]["value"] == 0.5
    assert figures["lesion"]["recall"]["value"] == 1.0
    assert figures["voxel"]["false_positive_volume_ml"]["value"] == 0.0


def test_nothing_is_missing_once_stored_and_more_patients_make_it_missing_again(made):
    plan = make_plan()
    run = plan.runs[0]
    finish(plan, run)
    store_results(plan, run)
    one = plan.model_copy(update={"runs": (run,)})
    assert missing(one) == []
    sizes = plan.model_dump()["sizes"]
    sizes["learnable"]["test"]["normal"] += 1
    larger = make_plan(sizes=sizes, runs=[run.model_dump()])
    assert missing(larger) == ["cohort", "crops", "crops", "patients", "score", "store"]
    assert missing_scores(larger, run, "test") == [
        name
        for name in cohort_patients(larger, "learnable", "test")
        if name not in cohort_patients(plan, "learnable", "test")
    ]


def test_stored_results_hold_on_a_machine_that_has_neither_data_nor_model(made, monkeypatch):
    plan = make_plan()
    run = plan.runs[0]
    finish(plan, run)
    store_results(plan, run)
    monkeypatch.setenv("CPMN_EVIDENCE", str(made / "elsewhere"))
    assert missing(plan.model_copy(update={"runs": (run,)})) == []


@pytest.mark.parametrize(
    "change",
    [
        {"target_specificity": {"learnable": 0.9}},
        {"inference": {"overlap": 0.5, "bfloat16": False}},
        {"recipe": {"steps": 11}},
        {"seeds": VALUES["seeds"] | {"test": {"learnable": 77}}},
    ],
)
def test_what_is_planned_otherwise_is_made_again(made, change):
    plan = make_plan()
    finish(plan, plan.runs[0])
    store_results(plan, plan.runs[0])
    assert "store" in missing(make_plan(**change))


def test_the_decision_says_how_scans_were_read(made):
    plan = make_plan(inference={"overlap": 0.25, "bfloat16": False, "highest_hu": 140.0, "segmentation_threshold": 0.6})
    finish(plan, plan.runs[0])
    store_results(plan, plan.runs[0])
    decision = read_json(made / "results" / plan.runs[0].name / "run.json")["decision"]
    assert (decision["overlap"], decision["highest_hu"], decision["segmentation_threshold"]) == (0.25, 140.0, 0.6)


def test_another_recipe_makes_the_run_missing(made):
    plan = make_plan()
    finish(plan, plan.runs[0])
    store_results(plan, plan.runs[0])
    other = make_plan(recipe={"steps": 11})
    assert {"train", "store"} <= set(missing(other))


def test_the_threshold_is_the_calibration_cohorts_and_never_moves_with_the_test(made):
    plan = make_plan()
    run = plan.runs[0]
    finish(plan, run)
    store_results(plan, run)
    threshold = read_json(made / "results" / run.name / "run.json")["decision"]["threshold"]
    assert (threshold["n_pe"], threshold["n_normal"], threshold["fitted_on"]) == (12, 20, "calibration cohort")
    for path in scoring.score_folder(plan, run, "test").glob("*.json"):
        found = read_json(path)
        found["features"] = {name: value + 50 for name, value in found["features"].items()}
        scoring.write_json(path, found)
    store_results(plan, run)
    after = read_json(made / "results" / run.name / "run.json")
    assert after["decision"]["threshold"] == threshold
    assert after["figures"]["test"]["patient"]["specificity"]["value"] == 0.0


def test_the_table_says_what_was_found_and_what_was_not_run(made):
    plan = make_plan()
    finish(plan, plan.runs[0])
    store_results(plan, plan.runs[0])
    text = "\n".join(table.lines(plan, made / "results"))
    row = next(line for line in text.splitlines() if line.startswith("| learnable/nct_only-s0"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1:4] == ["10", "2", "1"]
    assert cells[4].startswith("4/4 (")
    assert cells[6].startswith("1.000")
    assert cells[7] == ""
    assert cells[8].startswith("0.500")
    assert cells[-1] == "12 + 20"
    assert "| learnable/cpmn-s0 | not run |" in text
    assert "| 0.1 to 0.3 mL | 4 | 1.000 (0.510 to 1.000) |" in text
    assert "| 1.0 to 1.0 mL | 1.000 | 1.000 | 0.500 |" in text
    assert text.count("HU noise |") == 3


def test_the_share_of_the_observer_is_what_both_exceed_chance_by(made):
    plan = make_plan()
    finish(plan, plan.runs[0])
    store_results(plan, plan.runs[0])
    heads = "difficulty,noise_factor,observer,metric,group,value"
    (made / "observer.csv").write_text(f"{heads}\nlearnable,1.0,reference,auc,all,0.9\n")
    found = list(table.lines(plan, made / "results"))
    (row,) = [line for line in found if line.startswith("| learnable/nct_only-s0 | 10")]
    assert row.split("|")[8].strip() == "125%"
    assert any("reaches AUC 0.900" in line and "over 0.400" in line for line in found)


def test_loss_terms_stand_with_their_weights_for_runs_with_two_pathways(made):
    """Mutual 0.2 x 0.5, alignment 0.06 x 0.5, affinity 0.001 x 0.5 x 0.1; no classification was logged."""
    plan = make_plan()
    for run in plan.runs:
        finish(plan, run)
        store_results(plan, run)
    text = "\n".join(table.lines(plan, made / "results"))
    rows = [line for line in text.split("### What the loss terms add")[1].splitlines() if line.startswith("| learn")]
    (cells,) = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert cells == ["learnable/cpmn-s0", "0.4", "0.3", "", "", "", "", "0.1", "0.03", "5e-05"]


def test_the_comparison_stands_once_both_are_there(made):
    plan = make_plan()
    for run, advantage in zip(plan.runs, (0.5, 3.0), strict=True):
        finish(plan, run, advantage)
        store_results(plan, run)
    text = "\n".join(table.lines(plan, made / "results"))
    assert "| nct_nct | not run |" in text
    assert "Holm's once all three" in text
    line = next(line for line in text.splitlines() if line.startswith("| nct_only | 0 | +"))
    assert [line.split("|")[column].strip() for column in (5, 7)] == ["", ""]
    assert float(line.split("|")[3].split()[0]) == pytest.approx(
        auc_of(made, plan, 1) - auc_of(made, plan, 0), abs=5e-4
    )


def test_the_primary_endpoint_stays_open_until_every_seed_is_there(made, monkeypatch):
    """Two seeds of `cpmn` and one of a control: compared over the common seed, and nothing is said of the endpoint."""
    monkeypatch.setattr(comparison, "PRIMARY", "learnable")
    runs = [
        {"difficulty": "learnable", "variant": v, "seed": n}
        for v in ("nct_only", "cpmn", "nct_nct", "nct_only_long")
        for n in ((1,) if v == "nct_only" else (0, 1))
    ]
    plan = make_plan(runs=runs)
    *before, last = plan.runs
    for run in before:
        finish(plan, run, 3.0 if run.variant == "cpmn" else 0.5)
        store_results(plan, run)
    text = "\n".join(table.lines(plan, made / "results"))
    assert comparison.UNDECIDED in text
    assert "| nct_nct | 0, 1 | +" in text
    assert "| nct_only_long | 0 | +" in text
    without_chosen = next(line for line in text.splitlines() if line.startswith("| nct_nct | 1 | +"))
    assert without_chosen.split("|")[4].strip() == ""
    finish(plan, last, 0.5)
    store_results(plan, last)
    text = "\n".join(table.lines(plan, made / "results"))
    assert comparison.UNDECIDED not in text
    assert "Primary endpoint: `cpmn` is" in text
    longer = next(line for line in text.splitlines() if "`nct_only_long` minus `nct_only`, seeds 1: AUC" in line)
    difference = auc_of(made, plan, 6) - auc_of(made, plan, 0)
    assert float(longer.split("AUC ")[1].split()[0].rstrip(";")) == pytest.approx(difference, abs=5e-4)


def test_pairs_that_the_text_speaks_of_stand_with_their_difference(made):
    pair = ["learnable/cpmn-s0", "learnable/nct_only-s0"]
    plan = make_plan(compared=[pair])
    assert "### Pairs" not in "\n".join(table.lines(plan, made / "results"))
    for run, advantage in zip(plan.runs, (0.5, 3.0), strict=True):
        finish(plan, run, advantage)
        store_results(plan, run)
    (line,) = [line for line in table.lines(plan, made / "results") if line.startswith(f"| {pair[0]} | {pair[1]} |")]
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[3] == "test"
    assert float(cells[4].split()[0]) == pytest.approx(auc_of(made, plan, 1) - auc_of(made, plan, 0), abs=5e-4)
    with pytest.raises(ValueError, match="not among the runs: learnable/none-s0"):
        make_plan(compared=[["learnable/none-s0", pair[1]]])


def auc_of(made, plan, index) -> float:
    rows = pd.read_csv(made / "results" / plan.runs[index].name / "patients.csv").query("split == 'test'")
    pe, normal = (rows.loc[rows["label"] == label, "score"].to_numpy() for label in (1, 0))
    return float(np.mean(pe[:, None] > normal))


def test_the_document_keeps_what_stands_above_the_marker(tmp_path):
    document = tmp_path / "benchmark.md"
    document.write_text(f"# Plan\n\n{table.BEGIN}\nold\n")
    table.write_document(make_plan(), document, tmp_path)
    text = document.read_text()
    assert text.startswith("# Plan\n")
    assert "old" not in text
    assert "not run" in text
    document.write_text("no marker")
    with pytest.raises(ValueError, match="lacks the line"):
        table.write_document(make_plan(), document, tmp_path)


def test_analyses_stand_apart_from_trials(made):
    trial = {"difficulty": "learnable", "variant": "nct_only", "trial": "nct_only-1", "scored": ["development"]}
    why = trial | {"trial": "why-time", "analysis": True, "settings": {"steps": 20}}
    plan = make_plan(runs=[trial, why])
    text = "\n".join(table.lines(plan, made / "results"))
    trials, analyses = text.split("### Analyses")
    assert "learnable/trials/nct_only-1" in trials
    assert "why-time" not in trials
    assert "why-time | nct_only | steps 20 | not run" in analyses


def test_each_run_stands_in_mlflow_once_with_its_figures(made, monkeypatch):
    monkeypatch.setattr(scoring, "record", tracking.record)
    plan = make_plan()
    run = plan.runs[0]
    finish(plan, run)
    history = "epoch,step,seconds,train_total\n1,5,1.0,0.9\n2,10,2.0,0.5\n"
    (training.model_folder(plan, run) / "history.csv").write_text(history)
    for _ in range(2):
        store_results(plan, run)
    client = MlflowClient(f"sqlite:///{made / 'data' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("evidence-learnable")
    assert experiment is not None
    (stored,) = client.search_runs([experiment.experiment_id])
    assert stored.info.run_name == "nct_only-s0"
    assert stored.data.params["steps"] == "10"
    assert stored.data.metrics["test_auc"] == 1.0
    assert stored.data.metrics["test_dice"] == 0.5
    assert [point.value for point in client.get_metric_history(stored.info.run_id, "train_total")] == [0.9, 0.5]
    longer = make_plan(recipe={"steps": 12})
    finish(longer, longer.runs[0])
    (training.model_folder(longer, longer.runs[0]) / "history.csv").write_text(history)
    store_results(longer, longer.runs[0])
    steps = [one.data.params["steps"] for one in client.search_runs([experiment.experiment_id])]
    assert sorted(steps) == ["10", "12"]


def test_stored_runs_come_back_into_mlflow_on_a_machine_that_has_neither_models_nor_records(made, monkeypatch):
    plan = make_plan()
    finish(plan, plan.runs[0])
    (training.model_folder(plan, plan.runs[0]) / "history.csv").write_text("epoch,step,train_total\n1,5,0.9\n")
    store_results(plan, plan.runs[0])
    shutil.rmtree(made / "data")
    (made / "data").mkdir()
    for _ in range(2):
        assert tracking.record_stored(plan) == ["learnable/nct_only-s0"]
    client = MlflowClient(f"sqlite:///{made / 'data' / 'mlflow.db'}")
    (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert run.data.metrics["test_auc"] == 1.0
    assert [point.value for point in client.get_metric_history(run.info.run_id, "train_total")] == [0.9]


@pytest.mark.parametrize(
    ("intervals", "student", "words"),
    [
        ([(0.01, 0.2), (0.02, 0.3)], [(0.01, 0.2), (0.02, 0.3)], "is ahead of both controls in patient AUC."),
        ([(0.01, 0.2), (0.02, 0.3)], [(-0.01, 0.2), (0.02, 0.3)], "AUC. The wider intervals do not bear it out."),
        ([(0.01, 0.2), (-0.02, 0.3)], [(0.01, 0.2), (-0.02, 0.3)], "not shown to be ahead"),
        ([(0.01, 0.2), (None, None)], [(0.01, 0.2), (None, None)], "not shown to be ahead"),
    ],
)
def test_the_primary_endpoint_asks_for_both_intervals_above_zero(intervals, student, words):
    given = [[estimate(0.1, low, high) for low, high in pairs] for pairs in (intervals, student)]
    assert words in comparison.verdict(*given)


def test_goals_follow_from_the_observers_figures(tmp_path):
    path = tmp_path / "observer.csv"
    path.write_text(
        "difficulty,noise_factor,observer,metric,group,value\n"
        "mixed,1.0,reference,auc,all,0.9\nmixed,2.0,reference,auc,all,0.7\nrealistic,1.0,reference,auc,all,0.8\n"
    )
    assert "Goal: 90%, AUC 0.860." in table._goal("mixed", table._limit("mixed", path))
    assert "over 0.300" in table._goal("realistic", table._limit("realistic", path))
    assert "62/65" in table._goal("learnable", table._limit("learnable", path))
    assert table._goal("mixed", table._limit("mixed", tmp_path / "absent.csv")) == ""
