"""Folds that start at once, each a process, on a store that does not exist yet: nothing is created twice or lost."""

import csv
import getpass
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlflow")]

FOLDS = [("cpmn", 0), ("cpmn", 1), ("nct_only", 0)]
EPOCHS = [{"epoch": n, "step": 10 * n, "train_total": 1 / n, "validation_dice": n / 100} for n in range(1, 21)]
TRAINING = """
import csv, json, sys
from pathlib import Path
from cpmn.track import LiveFold, current_track
uri, variant, fold = sys.argv[1:]
import mlflow.tracking
print("ready", flush=True)
input()
track = current_track(Path("results/track.json"), json.loads(Path("run.json").read_text()), uri)
folder = Path("results/train", variant, f"fold-{fold}")
with LiveFold(track, folder) as live:
    for row in csv.DictReader((folder / "history.csv").open()):
        live.add(row)
"""


@pytest.fixture(scope="module")
def postgresql(port):
    """Address of an empty PostgreSQL server, which runs as `postgres` where the tests run as root."""
    found = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed: pip install -e '.[postgresql]'")
    root = getpass.getuser() == "root"
    if root and not shutil.which("runuser"):
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    programs, folder, number = Path(found).resolve().parent, Path(tempfile.mkdtemp(prefix="cpmn-pg-")), port()
    if root:
        shutil.chown(folder, "postgres")

    def call(*command):
        prefix = ["runuser", "-u", "postgres", "--"] if root else []
        subprocess.run([*prefix, *map(str, command)], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120)

    call(programs / "initdb", "-D", folder / "data", "-U", "cpmn", "-A", "trust")
    control = [programs / "pg_ctl", "-D", folder / "data", "-w"]
    call(*control, "-l", folder / "log", "-o", f"-p {number} -h 127.0.0.1 -k {folder}", "start")
    yield f"postgresql://cpmn@127.0.0.1:{number}/postgres"
    call(*control, "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request, tmp_path):
    """Address of a store that has no tables yet."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_folds_at_once_share_one_experiment_and_lose_nothing(tmp_path, uri):
    from mlflow.tracking import MlflowClient

    write_folds(tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINING, uri, variant, str(fold)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for variant, fold in FOLDS
    ]
    start_at_once(processes)
    for process in processes:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
        assert "MLflow:" not in errors
    client = MlflowClient(tracking_uri=uri)
    names = [one.name for one in client.search_experiments() if one.name == "parallel"]
    assert names == ["parallel"]
    experiment = client.get_experiment_by_name("parallel")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    expected = [*(f"{variant} fold-{fold}" for variant, fold in FOLDS), "cpmn", "nct_only"]
    assert sorted(run.info.run_name or "" for run in runs if run.data.tags["level"] != "workflow") == sorted(expected)
    assert len(runs) == len(expected) + 1
    for run in runs:
        if run.data.tags["level"] == "fold":
            history = client.get_metric_history(run.info.run_id, "validation_dice")
            assert [(point.step, point.value) for point in history] == [
                (e["step"], e["validation_dice"]) for e in EPOCHS
            ]
            assert len(client.list_artifacts(run.info.run_id, "model")) == 3
            assert run.info.status == "FINISHED"


def start_at_once(processes):
    """Let all go on when all have imported what they need."""
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def write_folds(folder):
    """Finished folds and the run's description in `folder`."""
    variants = {name: {"base": name, "seed": 0, "settings": {"steps": 600}} for name in ("cpmn", "nct_only")}
    tags = dict.fromkeys(("difficulty", "data_hash", "config_hash", "commit", "version"), "x")
    description = {**tags, "cohort": "parallel", "variants": variants, "config": {"cohort": None}}
    (folder / "run.json").write_text(json.dumps(description))
    for variant, fold in FOLDS:
        target = folder / f"results/train/{variant}/fold-{fold}"
        target.mkdir(parents=True)
        for name in ("model.safetensors", "plan.json"):
            (target / name).write_text("{}")
        with (target / "history.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, EPOCHS[0])
            writer.writeheader()
            writer.writerows(EPOCHS)
