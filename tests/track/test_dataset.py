"""From a run back to its cohort: the real `dvc` command, and the hash that a run's tag holds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cpmn.config.root import load_config
from cpmn.job.identity import data_hash
from cpmn.track.dataset import cohort_facts, dvc_version


def test_a_cohort_without_dvc_has_no_version(tmp_path):
    assert dvc_version(tmp_path) == ""


@pytest.mark.slow
def test_the_tag_of_a_run_leads_back_to_the_exact_cohort(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    monkeypatch.chdir(tmp_path)
    for command in ("git init -q", "dvc init -q", "dvc config core.autostage true"):
        call(command)
    config = load_config({"cohort": str(write_cohort(Path("data/pe"), patients=2))})
    commit("two patients")
    first_hash, first = data_hash(config), cohort_facts(config)
    assert first["profile"] == {"patients": 2, "pe": 1, "no_pe": 1, "with_ctpa": 2}
    assert len(first["data_version"]) > 30

    write_cohort(Path("data/pe"), patients=3)
    assert cohort_facts(config)["data_version"] == f"{first['data_version']}+changes"
    commit("three patients")
    second = cohort_facts(config)["data_version"]
    assert "+changes" not in second
    assert second != first["data_version"]

    # The way back that docs/how-to/mlflow.md shows.
    found = call(f"git log -S {first['data_version']} --reverse --format=%H -- data/pe.dvc").split()[0]
    call(f"git checkout -q {found} -- data/pe.dvc")
    call("dvc checkout -q data/pe.dvc")
    assert data_hash(config) == first_hash
    assert cohort_facts(config)["data_version"] == first["data_version"]


def write_cohort(folder: Path, patients: int) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    rows = ["patient_id,ctpa,nct,ctpa_mask,label"]
    for number in range(patients):
        scans = folder / f"p{number}"
        scans.mkdir(parents=True)
        for name in ("ctpa.nii.gz", "nct.nii.gz", "mask.nii.gz"):
            (scans / name).write_bytes(b"scan" * (number + 1))
        label = number % 2
        mask = f"{scans.name}/mask.nii.gz" if label else ""
        rows.append(f"{scans.name},{scans.name}/ctpa.nii.gz,{scans.name}/nct.nii.gz,{mask},{label}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder.absolute() / "cohort.csv"


def commit(message: str) -> None:
    call("dvc add -q data/pe")
    call("git add -A")
    call(f"git -c user.name=test -c user.email=test@example.org commit -q -m '{message}'")


def call(command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
