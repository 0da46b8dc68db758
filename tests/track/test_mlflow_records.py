"""What a whole run of the workflow leaves in MLflow, and the model that comes back out of it."""

import csv
import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

VARIANTS = ("cpmn", "nct_only")


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_loss_and_validation_figure_is_a_curve_over_optimiser_steps(tiny, client, runs, variant):
    history = rows(tiny.run / f"results/train/{variant}/fold-0/history.csv")
    run = runs[f"{variant} fold-0"].info.run_id
    for column in history[0]:
        expected = [(int(row["step"]), float(row[column])) for row in history if row[column]]
        found = client.get_metric_history(run, column) if expected else []
        assert [(point.step, point.value) for point in found] == expected, column


def test_curves_of_both_variants_have_the_same_steps(client, runs):
    names = {variant: set(runs[f"{variant} fold-0"].data.metrics) for variant in VARIANTS}
    shared = {name for name in names["cpmn"] & names["nct_only"] if name.startswith(("train_", "validation_"))}
    assert {"train_total", "train_segmentation", "train_classification"} <= shared
    assert any(name.startswith("validation_") for name in shared)
    for name in shared:
        steps = [
            [point.step for point in client.get_metric_history(runs[f"{v} fold-0"].info.run_id, name)] for v in VARIANTS
        ]
        assert steps[0] == steps[1], name


@pytest.mark.parametrize("variant", VARIANTS)
def test_figures_of_metrics_json_stand_in_the_variants_run(tiny, runs, variant):
    figures = json.loads((tiny.run / f"results/evaluate/{variant}/metrics.json").read_text())
    found = runs[variant].data.metrics
    for group in ("patient", "voxel", "lesion"):
        for name, figure in figures[group].items():
            if isinstance(figure, dict) and figure.get("value") is not None:
                assert found[f"{group}.{name}"] == figure["value"]
                assert found.get(f"{group}.{name}.low") == figure["low"]


def test_report_comparison_and_registrations_are_with_the_workflow(client, runs):
    run = runs["workflow"].info.run_id
    assert {"report/index.html", "report/run.json"} <= {item.path for item in client.list_artifacts(run, "report")}
    assert [item.path for item in client.list_artifacts(run, "evaluate")] == ["evaluate/comparison.csv"]
    patients = [item.path for item in client.list_artifacts(run, "registration")]
    assert len(patients) == 8
    assert [item.path for item in client.list_artifacts(run, patients[0])] == [f"{patients[0]}/quality.png"]


def test_figures_and_pictures_of_a_variant_lie_where_runs_are_compared(tiny, client, runs):
    test = json.loads((tiny.run / "results/train/splits.json").read_text())["test"]
    expected = {"metrics.json", "patients.csv", "decision.json", "roc.csv", *(f"overlay-{name}.png" for name in test)}
    for variant in VARIANTS:
        assert {item.path for item in client.list_artifacts(runs[variant].info.run_id)} == expected


def test_workflow_has_no_warning_of_mlflow(tiny):
    for log in sorted((tiny.run / "logs").rglob("*.log")):
        assert "MLflow" not in log.read_text(), log


def test_model_is_in_the_registry_without_a_pickle(tiny, client, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.run)  # from which the registry names its files, so that the folder can be moved
    found = {one.tags["variant"]: one for one in client.search_model_versions("name = 'cpmn-phantom-learnable'")}
    assert set(found) == set(VARIANTS)
    for variant, version in found.items():
        assert version.run_id == runs[variant].info.run_id
        assert version.tags["data_hash"] == runs[variant].data.tags["data_hash"]
    from mlflow.artifacts import download_artifacts

    folder = download_artifacts(found["cpmn"].source, dst_path=str(tmp_path))
    names = {name for _, _, files in os.walk(folder) for name in files}
    assert {"MLmodel", "input_example.json", "model.cpmn", "served.py"} <= names
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".pyc"))}


LOAD = """
import json, sys
import mlflow.pyfunc, pandas as pd
from pathlib import Path
uri, scan, nifti = sys.argv[1:]
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model("models:/cpmn-phantom-learnable/{version}")
assert set(model.metadata.get_input_schema().input_names()) == {{"path", "nifti"}}
assert model.input_example is not None
import cpmn
answers = [model.predict(pd.DataFrame(row)) for row in
           ({{"path": [scan]}}, {{"nifti": [Path(nifti).read_bytes()]}})]
print(json.dumps({{"package": cpmn.__file__, "rows": [a.to_dict("records")[0] for a in answers]}}))
"""


def test_model_loads_by_pyfunc_and_reads_as_cpmn_predict_does(tiny, client, uri, tmp_path):
    """In a process of its own, in which the registry's copy of the package is the only one."""
    (version,) = [
        one for one in client.search_model_versions("name = 'cpmn-phantom-learnable'") if one.tags["variant"] == "cpmn"
    ]
    scan = tiny.run / "data/phantom/phantom-001/nct"
    arguments = [uri, str(scan), str(tiny.run / "results/convert/phantom-001/nct.nii.gz")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    code = LOAD.format(version=version.version)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tiny.run, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert "/code/cpmn/" in answer["package"]
    output = tmp_path / "predicted"
    command = [sys.executable, "-m", "cpmn.cli", "predict", scan, "-o", output, "--model"]
    subprocess.run([*command, tiny.run / "results"], env=tiny.environment(), check=True, capture_output=True)
    expected = json.loads((output / "prediction.json").read_text())
    by_path, by_contents = answer["rows"]
    assert by_path["decision"] == expected["decision"]
    assert by_contents["decision"] == "indeterminate"  # nothing in a NIfTI file shows that it is a phantom
    for row in (by_path, by_contents):
        assert row["score"] == pytest.approx(expected["score"])
        assert row["threshold"] == pytest.approx(expected["threshold"]["value"])
        assert row["volume_ml"] == pytest.approx(expected["volume_ml"])


def test_promote_is_a_target_of_its_own(tiny, client):
    assert tiny.planned("--nolock", "promote")["promote"] == 1
    assert "promote" not in tiny.planned()
    done = tiny.snakemake("promote")
    assert done.returncode == 0, done.stdout[-4000:]
    record = json.loads((tiny.run / "results/promote.json").read_text())
    champion = client.get_model_version_by_alias("cpmn-phantom-learnable", "champion")
    assert record["after"]["version"] == str(champion.version)
    assert "Nothing to be done" in tiny.snakemake("promote").stdout
