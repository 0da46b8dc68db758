"""A real MLflow server over HTTP: it keeps the files, dies half-way, comes back, and gets what it missed."""

import logging
import time
from pathlib import Path

import pytest

from cpmn.track import LiveFold, sync_results

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlflow")]

EPOCHS = [{"epoch": n, "step": 10 * n, "train_total": 1 / n} for n in range(1, 41)]


def test_a_server_that_dies_half_way_gets_the_rest_when_it_is_back(folder, serve, port, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    number, home = port(), folder.results.parent
    command = ["server", "--backend-store-uri", folder.uri, "--artifacts-destination", str(home / "files")]
    with serve(command, number, "/health", home) as address:
        sqlite, folder.uri = folder.uri, address
        track = folder.track()
        live = LiveFold(track, folder.fold(rows=EPOCHS))
        live.add(EPOCHS[0])
        deadline = time.monotonic() + 60
        while not folder.curve():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    with caplog.at_level(logging.WARNING):
        for row in EPOCHS[1:]:
            live.add(row)
        live.finish()
    assert "cpmn track sync" in caplog.text
    folder.uri = sqlite
    assert len(folder.curve()) == 1
    folder.variant(patients=[{"patient_id": "p", "split": "test", "label": 1, "score": 1}])
    with serve(command, number, "/health", home) as folder.uri:
        assert sync_results(folder.results) == 3
        assert folder.curve() == [(row["step"], row["train_total"]) for row in EPOCHS]
        assert folder.level("fold").info.status == "FINISHED"
        weights = folder.client().download_artifacts(folder.level("fold").info.run_id, "model/model.safetensors")
        assert Path(weights).read_bytes() == b"weights"
        (version,) = folder.client().search_model_versions("name = 'cpmn-tiny'")
        assert download(version.source, address).joinpath("MLmodel").is_file()
    assert list((home / "files").rglob("model.safetensors")), "files do not lie with the server"
    assert not (home / "mlartifacts").exists()


def download(source, address):
    import mlflow.artifacts

    return Path(mlflow.artifacts.download_artifacts(source, tracking_uri=address))
