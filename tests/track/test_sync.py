"""What is sent to a real MLflow store (SQLite), twice sent, resumed, and sent again after a change."""

import json
import logging
import time
from pathlib import Path

import pytest

from cpmn.errors import CpmnError
from cpmn.files import read_json, write_json
from cpmn.track import LiveFold, flatten_metrics, sync_results
from tests.track.conftest import ROWS

pytestmark = pytest.mark.xdist_group("mlflow")


def finished(folder):
    """A finished run of one variant with a report."""
    folder.fold()
    folder.variant()
    (folder.results / "report").mkdir()
    (folder.results / "report/index.html").write_text("<html>")
    folder.track(data_version="", profile={"patients": 8})
    return folder


def test_of_registrations_those_of_the_report_s_patients_alone_are_sent(folder):
    """Whoever left the cohort may have left files."""
    results = finished(folder).results
    for name in ("here", "gone"):
        write_json(results / "register" / name / "quality.json", {"passed": name == "here", "lung_dice": 0.9})
        (results / "register" / name / "quality.png").write_bytes(b"a picture")
    write_json(results / "report/run.json", {"registered": ["here"]})
    sync_results(results)
    run_id = folder.level("workflow").info.run_id
    assert [item.path for item in folder.client().list_artifacts(run_id, "registration")] == ["registration/here"]


def test_runs_hold_parameters_curves_figures_and_model(folder):
    assert sync_results(finished(folder).results) == 3
    workflow, variant, fold = (folder.level(level) for level in ("workflow", "variant", "fold"))
    assert fold.data.params == {"steps": "8", "patch_size": "[16, 16, 16]"}
    assert fold.data.tags["mlflow.parentRunId"] == variant.info.run_id
    assert variant.data.tags["mlflow.parentRunId"] == workflow.info.run_id
    assert folder.curve() == [(50, 2.0), (100, 1.0)]
    assert folder.curve("validation_dice") == [(100, 0.5)]
    assert variant.data.metrics["patient.auc"] == 0.75
    assert variant.data.metrics["patient.auc.low"] == 0.5
    assert artifacts(folder, fold, "model") == {"model/history.csv", "model/model.safetensors", "model/plan.json"}
    assert artifacts(folder, workflow, "report") == {"report/index.html"}
    assert {run.info.status for run in folder.runs()} == {"FINISHED"}


def test_how_well_annotate_outlined_stands_in_the_parent_run(folder):
    write_json(finished(folder).results / "annotate/metrics.json", {"dice": 0.57, "auc": None, "n_pe": 8})
    write_json(folder.results / "report/run.json", {"annotate": False})
    sync_results(folder.results)
    assert not any("annotate" in key for key in folder.level("workflow").data.metrics)  # an earlier run left it
    write_json(folder.results / "report/run.json", {"annotate": True})
    sync_results(folder.results)
    workflow = folder.level("workflow")
    assert {k: v for k, v in workflow.data.metrics.items() if "annotate" in k} == {
        "annotate.dice": 0.57,
        "annotate.n_pe": 8.0,
    }
    assert artifacts(folder, workflow, "annotate") == {"annotate/metrics.json"}


def test_runs_are_named_and_tagged_to_be_filtered(folder):
    sync_results(finished(folder).results)
    names = {run.data.tags["level"]: run.info.run_name for run in folder.runs()}
    assert names["workflow"].startswith("tiny 20")
    assert (names["variant"], names["fold"]) == ("cpmn", "cpmn fold-0")
    shared = {"cohort": "tiny", "data_hash": "x", "commit": "x", "difficulty": "x", "config_hash": "x"}
    own = {"variant": "cpmn", "base": "cpmn", "seed": "3"}
    for level, expected in {"workflow": shared, "variant": shared | own, "fold": shared | own | {"fold": "0"}}.items():
        tags = folder.level(level).data.tags
        assert tags | expected == tags
    found = folder.client().search_runs(
        [folder.level("fold").info.experiment_id],
        filter_string="tags.level = 'fold' and tags.base = 'cpmn' and metrics.validation_dice > 0.4",
    )
    assert [run.info.run_name for run in found] == ["cpmn fold-0"]


def test_cohort_is_the_input_of_every_run(folder):
    sync_results(finished(folder).results)
    for run in folder.runs():
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("tiny", "x")
        assert json.loads(used.dataset.source) == {"uri": "/data/cohort.csv"}
        assert json.loads(used.dataset.profile) == {"patients": 8, "data_hash": "x"}


def test_more_parameters_than_one_request_takes_are_all_sent(folder):
    folder.track(config={f"key_{i}": {"inner": i} for i in range(230)})
    assert len(folder.level("workflow").data.params) == 230


def test_sending_twice_changes_nothing(folder):
    results = finished(folder).results
    sync_results(results)
    before = [(run.info.run_id, run.info.end_time, run.data.tags) for run in folder.runs()]
    sync_results(results)
    assert [(run.info.run_id, run.info.end_time, run.data.tags) for run in folder.runs()] == before
    assert len(folder.curve()) == 2
    figures = folder.client().get_metric_history(folder.level("variant").info.run_id, "patient.auc")
    assert len(figures) == 1
    assert len(folder.client().search_model_versions("name = 'cpmn-tiny'")) == 1


def test_changed_results_are_sent_again(folder):
    results = finished(folder).results
    sync_results(results)
    folder.fold(weights=b"other weights")
    write_json(results / "evaluate/cpmn/metrics.json", {"patient": {"auc": {"value": 0.9}}})
    sync_results(results)
    model = Path(folder.client().download_artifacts(folder.level("fold").info.run_id, "model/model.safetensors"))
    assert model.read_bytes() == b"other weights"
    assert folder.level("variant").data.metrics["patient.auc"] == 0.9
    assert len(folder.client().search_model_versions("name = 'cpmn-tiny'")) == 2


def test_results_of_variants_that_left_the_configuration_are_not_sent(folder):
    finished(folder)
    folder.fold("older")
    folder.variant("older")
    assert sync_results(folder.results) == 3


def test_folds_of_an_earlier_configuration_are_neither_sent_nor_registered(folder):
    finished(folder)
    folder.fold(weights=b"of five folds", number=1)
    assert sync_results(folder.results) == 3
    kept = {path.read_bytes() for path in (folder.results.parent / "mlartifacts").rglob("*.safetensors")}
    assert kept == {b"weights"}


def test_results_are_sent_to_their_own_database_from_any_folder(folder, tmp_path, monkeypatch):
    folder.uri = "sqlite:///mlflow.db"  # as a configuration names it, or the default
    finished(folder)
    before = read_json(folder.results / "track.json")["run_id"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert sync_results(folder.results) == 3
    assert not list((tmp_path / "elsewhere").iterdir())
    assert read_json(folder.results / "track.json")["run_id"] == before
    monkeypatch.chdir(tmp_path)
    assert folder.level("workflow").info.run_id == before
    assert len(folder.curve()) == 2


def test_a_deleted_database_is_filled_again(folder, store):
    results = finished(folder).results
    sync_results(results)
    (results.parent / "mlflow.db").write_bytes(store.read_bytes())
    other = f"sqlite:///{results.parent / 'other.db'}"
    (results.parent / "other.db").write_bytes(store.read_bytes())
    folder.move(other)
    folder.uri = other
    sync_results(results)
    assert folder.curve() == [(50, 2.0), (100, 1.0)]


def test_one_failing_part_does_not_keep_the_others(folder):
    results = finished(folder).results
    (results / "evaluate/cpmn/decision.json").unlink()  # the registry cannot do without
    with pytest.raises((FileNotFoundError, CpmnError), match=r"absent|No such file"):
        sync_results(results)
    assert folder.level("variant").data.metrics["patient.auc"] == 0.75
    assert folder.level("variant").info.status == "FINISHED"


def test_live_rows_and_the_final_sync_are_one_run(folder):
    fold, track = folder.fold(), folder.track()
    first = LiveFold(track, fold)
    first.add(folder.rows[0])
    wait_for(lambda: len(folder.curve()) == 1)
    # The first process is killed here; another one resumes the training.
    with LiveFold(track, fold) as resumed:
        resumed.add(folder.rows[1])
    assert folder.curve() == [(50, 2.0), (100, 1.0)]
    assert folder.level("fold").info.status == "FINISHED"


def test_load_of_the_machine_is_recorded(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with LiveFold(folder.track(), folder.fold()):
        wait_for(lambda: folder.curve("system/cpu_utilization_percentage"))
    metrics = folder.level("fold").data.metrics
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    assert metrics["system/system_memory_usage_megabytes"] > 0


def test_a_failed_training_is_marked_and_its_error_is_kept(folder):
    def training():
        with LiveFold(folder.track(), folder.fold()) as live:
            live.add(folder.rows[0])
            raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        training()
    assert folder.level("fold").info.status == "FAILED"
    assert folder.curve() == [(50, 2.0)]


def test_undefined_figures_are_left_out(folder):
    assert flatten_metrics(folder.metrics) == {
        "patient.auc": 0.75,
        "patient.auc.low": 0.5,
        "patient.auc.high": 1.0,
        "patient.auc.n": 4.0,
        "patient.sensitivity.n": 0.0,
        "threshold": 1.5,
    }


def test_nothing_to_send_is_said(tmp_path):
    with pytest.raises(CpmnError, match=r"track\.json does not exist"):
        sync_results(tmp_path)


def test_without_tracking_nothing_is_written(folder, caplog):
    with caplog.at_level(logging.WARNING), LiveFold(folder.track(enabled=False), folder.fold()) as live:
        live.add(folder.rows[0])
    assert not folder.runs()
    assert not caplog.text


def artifacts(folder, run, path):
    return {item.path for item in folder.client().list_artifacts(run.info.run_id, path)}


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_fold_that_was_trained_anew_has_its_own_curve(folder):
    """Under the same hashes, as after a mask that was corrected in place: a metric cannot be overwritten."""
    sync_results(finished(folder).results)
    folder.fold(rows=[row | {"train_total": row["train_total"] / 4} for row in ROWS])
    sync_results(folder.results)
    assert folder.curve() == [(50, 0.5), (100, 0.25)]
    sync_results(folder.results)
    assert len(folder.runs()) == 3


def test_a_parent_that_was_deleted_in_the_interface_is_made_again(folder):
    sync_results(finished(folder).results)
    track = read_json(folder.results / "track.json")
    folder.client().delete_run(track["run_id"])
    assert sync_results(folder.results) == 3
    assert read_json(folder.results / "track.json")["run_id"] != track["run_id"]
