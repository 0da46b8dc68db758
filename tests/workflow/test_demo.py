"""From DICOM to report on the tiny cohort: files of the contract, nothing done twice, only what changed done again."""

import csv
import json
import os

import pytest
import SimpleITK as sitk

from cpmn.volume.images import read_image, same_grid

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

PER_PATIENT = {"convert", "register", "propagate", "crop"}


def test_files_of_the_contract(finished):
    results = finished.run / "results"
    patients = [row["patient_id"] for row in finished.rows()]
    for patient in patients:
        for name in ("ctpa.nii.gz", "nct.nii.gz", "ctpa.json", "nct.json"):
            assert (results / "convert" / patient / name).is_file()
        for name in ("affine.mat", "warp.nii.gz", "inverse_warp.nii.gz", "ctpa_in_nct.nii.gz", "quality.json"):
            assert (results / "register" / patient / name).is_file()
        native = read_image(results / "convert" / patient / "nct.nii.gz")
        assert native.GetPixelID() == sitk.sitkInt16
        assert same_grid(native, read_image(results / "propagate" / patient / "embolus.nii.gz"))
        for name in ("nct", "ctpa", "embolus", "lung"):
            assert (results / "crop" / patient / f"{name}.nii.gz").is_file()
    quality = json.loads((results / "register" / patients[0] / "quality.json").read_text())
    assert {"lung_dice", "jacobian_min", "folding_fraction", "seconds", "threads", "passed", "reason"} <= set(quality)
    splits = json.loads((results / "train/splits.json").read_text())
    assert {"seed", "method", "test", "folds"} <= set(splits)
    for variant in ("cpmn", "nct_only"):
        for name in ("model.safetensors", "plan.json", "history.csv"):
            assert (results / "train" / variant / "fold-0" / name).is_file()
        metrics = json.loads((results / "evaluate" / variant / "metrics.json").read_text())
        assert {"reference", "patient", "voxel", "lesion", "threshold"} <= set(metrics)
        for patient in splits["test"]:
            prediction = read_image(results / "evaluate" / variant / "predictions" / f"{patient}.nii.gz")
            assert prediction.GetPixelID() == sitk.sitkUInt8
            assert same_grid(prediction, read_image(results / "convert" / patient / "nct.nii.gz"))
            assert (results / "evaluate" / variant / "cam" / f"{patient}.nii.gz").is_file()
    for name in ("index.html", "model_card.md", "run.json"):
        assert (results / "report" / name).is_file()


def test_patients_csv_has_every_test_patient_once_per_variant(finished):
    splits = json.loads((finished.run / "results/train/splits.json").read_text())
    with (finished.run / "results/evaluate/cpmn/patients.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = (
        "patient_id split fold label score threshold decision dice reference_ml predicted_ml lesions lesions_found"
    )
    assert list(rows[0]) == [*columns.split(), "false_positives", "reference", "indeterminate", "excluded_reason"]
    assert sorted(row["patient_id"] for row in rows if row["split"] == "test") == sorted(splits["test"])
    assert {row["reference"] for row in rows} == {"nct_truth"}


def test_runs_of_both_variants_are_in_mlflow(finished):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{finished.run / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("phantom-learnable")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    by_name = {run.info.run_name: run for run in runs if run.data.tags["level"] != "workflow"}
    assert set(by_name) == {"cpmn", "nct_only", "cpmn fold-0", "nct_only fold-0"}
    assert all(run.info.status == "FINISHED" for run in runs)
    metrics = json.loads((finished.run / "results/evaluate/cpmn/metrics.json").read_text())
    assert by_name["cpmn"].data.metrics["patient.auc"] == metrics["patient"]["auc"]["value"]
    assert by_name["cpmn fold-0"].data.params["schedule.steps"] == "8"
    steps = client.get_metric_history(by_name["cpmn fold-0"].info.run_id, "train_total")
    assert [metric.step for metric in steps] == [4, 8]  # optimiser steps: two epochs of four


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.snakemake("data/phantom/cohort.csv", "all").stdout


def test_a_run_that_was_moved_has_nothing_to_do(continued):
    assert not continued.planned()


def test_a_new_patient_runs_its_own_preprocessing_alone(finished):
    jobs = finished.planned(config=("phantom={patients: 9}",))
    for stage in ("phantom", *PER_PATIENT):
        assert jobs[stage] == 1, jobs
    assert jobs["report"] == 1


@pytest.mark.parametrize(
    ("module", "runs", "rests"),
    [
        ("model/losses.py", {"train", "evaluate", "report"}, PER_PATIENT | {"phantom"}),
        ("crop/stage.py", {"crop", "train"}, {"phantom", "convert", "register", "propagate"}),
        ("report/stage.py", {"report"}, PER_PATIENT | {"phantom", "train", "evaluate"}),
        ("config/register.py", {"register", "train"}, {"phantom", "convert"}),
    ],
)
def test_changed_code_runs_just_the_stages_that_use_it(finished, module, runs, rests):
    path = finished.code / "cpmn" / module
    before, times = path.read_bytes(), path.stat()
    path.write_bytes(before + b"\n# changed\n")
    try:
        jobs = finished.planned()
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert runs <= set(jobs), jobs
    assert not rests & set(jobs), jobs


def test_changed_setting_runs_just_what_depends_on_it(finished):
    jobs = finished.planned(config=("evaluate={target_specificity: 0.8}",))
    assert "evaluate" in jobs
    assert "train" not in jobs
    assert not (PER_PATIENT & set(jobs))


def test_vessel_masks_are_cut_where_there_are_some_and_only_for_whom_they_serve(finished):
    assert finished.planned()["crop_vessels"] == 0
    masked = "phantom={vessels: true}"
    scored = finished.planned(config=(masked,))["crop_vessels"]
    assert 0 < scored < 8
    assert finished.planned(config=(masked, "train={sampling: {vein_fraction: 0.25}}"))["crop_vessels"] == 8


def taken_over(continued, rows):
    """Let the finished run be that of a sheet that names the same files."""
    config = (continued.sheet(rows),)
    assert continued.snakemake("--touch", "all", config=config).returncode == 0
    assert not continued.planned(config=config)


def test_new_vessel_masks_repeat_the_evaluation_alone(finished, continued):
    """A sheet that names masks beside what it named before: no crop, no training runs again."""
    rows, mask = finished.rows(), continued.run.parent / "vessels.nii.gz"
    mask.touch()
    taken_over(continued, rows)
    jobs = continued.planned(config=(continued.sheet([row | {"vessels": str(mask)} for row in rows]),))
    assert set(jobs) == {"crop_vessels", "evaluate", "compare", "report", "all"}


def test_what_preprocessing_alone_needs_can_be_deleted_once_it_was_used(finished, tmp_path):
    project, row = finished.beside(tmp_path / "run"), finished.rows()[0]
    crop, config = f"results/crop/{row['patient_id']}/status.json", (project.sheet([row]), "keep_intermediates=false")
    done = project.snakemake(crop, config=config)
    assert done.returncode == 0, done.stdout
    left = {path.name for stage in ("convert", "register") for path in project.run.glob(f"results/{stage}/*/*")}
    kept = {"nct.nii.gz", "nct.json", "ctpa.json", "status.json", "affine.mat", "quality.json", "quality.png"}
    assert left == kept
    assert not project.planned("--nocolor", crop, config=config)


def test_without_the_scoring_reference_the_model_is_the_same(finished, continued):
    """All that could see it of a patient with clots, from the labels on, is made again without it."""
    rows = [{key: value for key, value in row.items() if key != "nct_truth"} for row in finished.rows()]
    taken_over(continued, rows)
    trained = json.loads((continued.run / "results/train/splits.json").read_text())["folds"][0]["train"]
    patient = next(row["patient_id"] for row in rows if row["label"] == "1" and row["patient_id"] in trained)
    model = "results/train/cpmn/fold-0/model.safetensors"
    made, before = continued.run / model, (continued.run / model).stat().st_mtime_ns
    again = f"results/propagate/{patient}/embolus.nii.gz"
    done = continued.snakemake(model, "--forcerun", again, config=(continued.sheet(rows),))
    assert done.returncode == 0, done.stdout[-4000:]
    assert (continued.run / again).stat().st_mtime_ns > before
    assert made.stat().st_mtime_ns > before
    assert made.read_bytes() == (finished.run / model).read_bytes()


def test_what_was_lost_of_a_finished_run_is_made_again(finished):
    """Killed while it trained anew: Snakemake had removed the model, and the report of before was there still."""
    patient = json.loads((finished.run / "results/train/splits.json").read_text())["test"][0]
    for rule, lost in (
        ("train", "results/train/cpmn/fold-0/model.safetensors"),
        ("evaluate", f"results/evaluate/cpmn/reference/{patient}.nii.gz"),
    ):
        file = finished.run / lost
        aside = file.rename(file.with_name("aside"))
        try:
            jobs = finished.planned()
        finally:
            aside.rename(file)
        assert (jobs[rule], jobs["report"]) == (1, 1), lost
        assert rule == "train" or jobs["train"] == 0
    assert not finished.planned()["evaluate"]
