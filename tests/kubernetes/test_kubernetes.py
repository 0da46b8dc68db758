"""The `kubernetes` profile: complete, and one patient's job on stand-ins for Kubernetes and for S3."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import Project
from tests.kubernetes.conftest import container_of

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "workflow/profiles"
GPU = "    # gpu: 1\n    # gpu_manufacturer: nvidia\n"


def _settings(name: str) -> dict:
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text())


def test_profile_asks_for_what_the_slurm_profile_asks_for():
    ours, slurm = _settings("kubernetes"), _settings("slurm")
    assert ours["set-threads"] == slurm["set-threads"]
    memory = {name: {"mem_mb": asked["mem_mb"]} for name, asked in slurm["set-resources"].items()}
    assert ours["set-resources"] == memory
    for key in ("rerun-incomplete", "show-failed-logs", "retries", "printshellcmds", "quiet"):
        assert ours[key] == slurm[key], key


def test_profile_names_the_rules_that_gain_from_a_gpu():
    texts = [(PROFILES / name / "config.yaml").read_text() for name in ("kubernetes", "slurm")]
    assert texts[0].count(GPU) == texts[1].count("# gres:")
    with_gpu = yaml.safe_load(texts[0].replace(GPU, GPU.replace("# ", "")))["set-resources"]
    assert {name for name, asked in with_gpu.items() if "gpu" in asked} == {
        "annotate", "annotate_summary", "annotate_train", "evaluate", "train",
    }  # fmt: skip


@pytest.mark.slow
def test_a_patient_is_converted_without_a_shared_folder(cluster, stand_in_for_s3, finished, tmp_path, monkeypatch):
    import boto3

    project = Project.copy(tmp_path)
    for command in (["init", "--quiet"], ["add", "--all"]):  # what Git manages is what pods get
        subprocess.run(["git", *command], cwd=project.code, check=True)
    scan = finished.rows()[0]["nct"]
    sheet = tmp_path / "scans.csv"
    with sheet.open("w", newline="") as stream:
        csv.writer(stream).writerows([["patient_id", "ctpa", "nct", "ctpa_mask", "label"], ["alone", "", scan, "", 0]])
    status = "results/convert/alone/status.json"
    for name, value in {"ENDPOINT_URL": stand_in_for_s3, "ACCESS_KEY": "stand-in", "SECRET_KEY": "stand-in"}.items():
        monkeypatch.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", value)

    def snakemake(*arguments: str, target: str = status, cohort: str = f"cohort={sheet}") -> str:
        command = [sys.executable, "-m", "snakemake", target, *arguments, "--configfile", "config/tiny.yaml"]
        command += ["--workflow-profile", str(project.code / "workflow/profiles/kubernetes"), "--latency-wait", "5"]
        command += ["--container-image", "cpmn:test", "--default-storage-prefix", "s3://cpmn/run"]
        command += ["--kubernetes-persistent-volumes", f"scans:{Path(scan).parent}"]
        command += ["--seconds-between-status-checks", "1", "--config", cohort]
        done = subprocess.run(
            command, cwd=project.code, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{cluster.logs()[-4000:]}"
        return done.stdout

    whole = snakemake("--dry-run", target="results/report/index.html", cohort=project.sheet(finished.rows()))
    for read in ("train/cpmn/fold-0/plan.json", "crop/phantom-001/status.json", "evaluate/cpmn/roc.csv"):
        assert f"run/results/{read} (retrieve" in whole  # a job gets what its rule names, and nothing else
    assert not cluster.jobs
    snakemake()
    (job,) = cluster.jobs.values()
    container = container_of(job)
    assert container["image"] == "cpmn:test"
    assert container["resources"]["requests"] == {"cpu": "950m", "memory": "4000M"}
    assert {"name": "scans", "mountPath": str(Path(scan).parent)} in container["volumeMounts"]
    assert "stand-in" not in str(job)  # the key of the bucket travels as a secret
    store = boto3.client("s3", endpoint_url=stand_in_for_s3)
    kept = {one["Key"] for one in store.list_objects_v2(Bucket="cpmn", Prefix="run/")["Contents"]}
    assert {f"run/{status}", "run/results/convert/alone/nct.nii.gz", "run/logs/convert/alone.log"} <= kept
    assert not (project.code / "results").exists()
    assert "Nothing to be done" in snakemake()
    assert len(cluster.jobs) == 1
