"""The study's curve in MLflow, in a real store."""

import pytest
from mlflow.tracking import MlflowClient

from study.few import UNSIMULATED, curve
from study.record import EXPERIMENT, record_curve
from study.uncertainty import auc


def test_the_curve_is_a_run_a_network_and_written_again_it_is_there_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where artifacts of such a store lie
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    record_curve(uri)
    names = record_curve(uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = {str(run.info.run_name): run.info.run_id for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == sorted(names)
    points = {point.outlined: point.of(auc)["value"] for point in curve()["annotate_hard"]}
    found = {metric.step: metric.value for metric in client.get_metric_history(runs["C+"], "auc")}
    assert found == pytest.approx(points)
    without = client.get_metric_history(runs["C+, no simulated emboli"], "auc")
    assert [metric.value for metric in without] != [found[4]]
    assert {metric.step: metric.value for metric in without} == pytest.approx(
        {point.outlined: point.of(auc)["value"] for point in curve(UNSIMULATED)["annotate_hard"]}
    )
    assert [file.path for file in client.list_artifacts(runs["C+"])] == ["outlines.png"]
