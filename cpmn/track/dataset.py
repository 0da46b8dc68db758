"""The cohort as MLflow's data set, and the way back from a run to the files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cpmn.config.root import Config
from cpmn.job.identity import cohort_of

LONGEST_DIGEST = 36  # characters; MLflow's limit of a data set's digest


def cohort_facts(config: Config) -> dict[str, Any]:
    """`data_version`, as `dvc_version` finds it, and `profile`: how many patients there are, with and without PE."""
    patients = cohort_of(config)
    positive = sum(patient.label for patient in patients)
    profile = {
        "patients": len(patients),
        "pe": positive,
        "no_pe": len(patients) - positive,
        "with_ctpa": sum(patient.ctpa is not None for patient in patients),
    }
    version = dvc_version(Path(config.cohort).absolute().parent) if config.cohort else ""
    return {"data_version": version, "profile": profile}


def dvc_version(folder: Path) -> str:
    """DVC's hash of a folder, or of the nearest folder above it that was added with `dvc add`; empty without one.

    '+changes' follows where the number of files or their size is not what DVC noted: the files themselves are not
    read. `git log -S HASH -- FOLDER.dvc` finds the commit whose `dvc checkout` brings the cohort back.
    """
    for level in (folder, *folder.parents)[:-1]:
        note = level.with_name(f"{level.name}.dvc")
        if note.is_file():
            out = yaml.safe_load(note.read_text(encoding="utf-8"))["outs"][0]
            sizes = [path.stat().st_size for path in level.rglob("*") if path.is_file()]
            same = (out.get("nfiles"), out.get("size")) == (len(sizes), sum(sizes))
            return str(out["md5"]) + ("" if same else "+changes")
    return ""


def dataset_input(track: Mapping[str, Any]) -> Any:
    """The cohort with the first characters of its data hash as digest; the whole hash is in the profile.

    The source of a user's cohort is its `cohort.csv`; that of the phantom is the code, which makes it from settings.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    sheet = track["config"].get("cohort")
    commit = {"mlflow.source.git.commit": track["commit"], "mlflow.source.name": "cpmn phantom"}
    source = {"uri": str(Path(sheet).absolute())} if sheet else {"tags": commit}
    profile = {**track.get("profile", {}), "data_hash": track["data_hash"]}
    dataset = Dataset(
        name=track["cohort"],
        digest=track["data_hash"][:LONGEST_DIGEST],
        source_type="local" if sheet else "code",
        source=json.dumps(source),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training and test")])
