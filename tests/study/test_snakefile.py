"""The study on the project's workflow: from nothing to the comparison, killed on the way."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import load_cohort
from cpmn.config.root import load_config
from cpmn.volume.images import read_image, same_grid
from study.keep import keep
from study.own import outline_by_itself
from study.tables import CLOTS, PATIENTS, RUNS, read
from tests.conftest import ROOT


def command(folder: Path, *arguments: str) -> list[str]:
    """The tiny study; `arguments` begin with the targets, since options take what follows them."""
    preset = ["--configfile", str(ROOT / "study" / "tiny.yaml")]
    start = [sys.executable, "-m", "snakemake", *arguments, *preset, "--cores", "2", "--directory", str(folder)]
    return [*start, "--snakefile", str(ROOT / "study" / "Snakefile")]


def run(folder: Path, *arguments: str) -> str:
    made = command(folder, *arguments)
    done = subprocess.run(made, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def jobs(output: str) -> Counter[str]:
    """How many jobs of each rule a dry run names; rules of batches count under the name before the first `_`."""
    lines = output.partition("Job stats:")[2].splitlines()[3:]
    table = [line.split() for line in lines[: next(i for i, line in enumerate(lines) if line.startswith("total"))]]
    counts: Counter[str] = Counter()
    for name, count in table:
        counts[name.partition("_")[0]] += int(count)
    return counts


def test_a_study_is_batches_and_trainings(tmp_path):
    found = jobs(run(tmp_path, "-n"))
    once = dict.fromkeys(("splits", "check", "compare", "report", "all"), 1)
    assert found == once | {"phantom": 4, "preprocess": 4, "train": 4, "evaluate": 4}


def test_a_mistake_in_the_protocol_stops_with_its_name(tmp_path):
    done = subprocess.run(command(tmp_path, "-n", "--config", "judged=locked"), capture_output=True, text=True)
    assert done.returncode == 1
    assert "parts.mixed: locked is missing" in done.stdout + done.stderr


def test_pairs_without_masks_are_batches_too(tmp_path):
    found = jobs(run(tmp_path, "-n", "--config", "outlined=1", "workflow={annotate: {folds: 1}}"))
    batches = {"teach": 2, "annotate": 1 + 2 + 1}  # a network, train and validation, the summary
    once = dict.fromkeys(("splits", "check", "compare", "report", "all"), 1)
    assert found == once | {"phantom": 4, "preprocess": 4, "train": 4, "evaluate": 4} | batches


@pytest.mark.slow
@pytest.mark.xdist_group("study")
def test_the_tiny_study_is_killed_and_goes_on(tmp_path):
    """Of its pairs with PE one is outlined, so that `annotate` is among its stages."""
    train = "{schedule: {steps: 60, epoch_steps: 30}, machine: {save_every: 10}, variants: [nct_only, cpmn-s1]}"
    small = "{folds: 1, steps: 8, spacing: [6.0, 6.0, 6.0], patch_size: [16, 16, 16], channels: [8, 16]}"
    parts = "{mixed: {calibration: {pe: 1, normal: 1}, test: {pe: 1, normal: 1}}}"
    workflow = f"{{train: {train}, annotate: {small}, track: {{enabled: false}}}}"
    arguments = ("--config", "outlined=1", f"parts={parts}", f"workflow={workflow}")
    model = "results/train/cpmn-s1/fold-0/model.safetensors"
    killed_in_training(tmp_path, model, *arguments)
    run(tmp_path, "--unlock", *arguments)
    run(tmp_path, *arguments)
    assert "going on at step" in (tmp_path / "logs/train/cpmn-s1/fold-0.log").read_text()
    compared = {
        (row["variant"], row["base"], row["seed"]) for row in rows(tmp_path / "results/evaluate/comparison.csv")
    }
    assert compared == {("nct_only", "nct_only", "0"), ("cpmn-s1", "cpmn", "1")}
    patients = rows(tmp_path / "results/evaluate/cpmn-s1/patients.csv")
    assert Counter(row["split"] for row in patients) == {"validation": 4, "calibration": 2, "test": 2}
    assert all(row["score"] and row["reference"] == "nct_truth" for row in patients)
    assert (tmp_path / "results/report/index.html").is_file()
    assert "Nothing to be done" in run(tmp_path, *arguments)
    its_readings_are_kept(tmp_path / "results", tmp_path / "kept")
    its_network_teaches_itself(tmp_path, *arguments[1:])


def its_network_teaches_itself(folder: Path, *config: str) -> None:
    """What it outlines lies on the NCT of pairs that nobody outlined; such outlines are what the next one learns."""
    everything = load_config({"annotate": {"threshold": 0.0, "sure": 0.0}})
    found = outline_by_itself(folder / "results", "nct_only", folder / "masks", everything)
    reported = [patient for patient in load_cohort(folder / "cohort.csv") if patient.ctpa and is_reported(patient)]
    assert reported
    assert sorted(found) == sorted(patient.patient_id for patient in reported)
    for patient in reported:
        name, truth = patient.patient_id, patient.nct_truth
        assert truth is not None
        assert found[name] > 0
        mask = folder / "masks" / f"{name}.nii.gz"
        assert same_grid(read_image(mask), read_image(folder / "results/convert" / name / "nct.nii.gz"))
        shutil.copyfile(truth, mask)  # untrained, it outlines whole chests, which are refused
    first = reported[0]
    assert first.nct_truth is not None
    crop = f"results/crop/{first.patient_id}/status.json"
    said = run(folder, crop, "--config", *config, f"own={folder / 'masks'}")
    assert set(jobs(said)) == {"carry"}
    assert json.loads((folder / crop).read_text())["passed"]
    carried = folder / "results/propagate" / first.patient_id / "embolus.nii.gz"
    taught, truth = (sitk.GetArrayFromImage(read_image(path)) > 0 for path in (carried, first.nct_truth))
    np.testing.assert_array_equal(taught, truth)


def its_readings_are_kept(results: Path, folder: Path) -> None:
    assert keep(results, folder) == {"cpmn-s1": True, "nct_only-s0": True}
    runs, patients, clots = (read(name, folder) for name in (RUNS, PATIENTS, CLOTS))
    assert list(runs["run"]) == ["cpmn-s1", "nct_only-s0"]
    assert (runs[["steps", "parameters", "reading_seconds"]].to_numpy() > 0).all()
    assert [list(table) for table in (runs, patients, clots)] == [list(read(name)) for name in (RUNS, PATIENTS, CLOTS)]
    assert Counter(zip(patients["run"], patients["cohort"], strict=True)) == {
        (name, part): 2 for name in runs["run"] for part in ("calibration", "test")
    }
    scored = pd.read_csv(results / "evaluate/cpmn-s1/patients.csv").query("split == 'test'")
    kept = patients.query("run == 'cpmn-s1' and cohort == 'test'")
    assert sorted(kept["score"]) == pytest.approx(sorted(scored["score"]))
    own = clots.query("run == 'cpmn-s1'")
    assert len(own) == scored["lesions"].sum()
    assert own["confidence"].notna().sum() == scored["lesions_found"].sum()  # read again, the marks are the same
    assert keep(results, folder) == {"cpmn-s1": False, "nct_only-s0": False}


def killed_in_training(folder: Path, model: str, *arguments: str) -> None:
    """Start the study and kill it once the training of `model` has saved its first state."""
    started = subprocess.Popen(
        command(folder, model, *arguments),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 900
    resume = (folder / model).with_name(".resume")
    while not list(resume.rglob("state.pt")) and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    assert not (folder / model).exists(), "the training ended before it could be killed"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
