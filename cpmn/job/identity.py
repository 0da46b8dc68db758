"""What a run is: its cohort, data, configuration, variants and code, as records and reports name them."""

import subprocess
from pathlib import Path
from typing import Any

import cpmn
from cpmn.cohort.phantom import phantom_rows
from cpmn.cohort.sheet import Patient, load_cohort, parse_cohort
from cpmn.config.root import Config
from cpmn.config.variants import base_of, resolve_variant
from cpmn.dicom.archive import files_there
from cpmn.errors import CpmnError
from cpmn.files import read_json, sha256_of_json

PHANTOM_SHEET = Path("data/phantom/cohort.csv")


def cohort_of(config: Config) -> list[Patient]:
    """The user's patients, or the built-in phantom's, whose rows follow from the configuration.

    Raises CpmnError as `load_cohort`.
    """
    if config.cohort is not None:
        return load_cohort(config.cohort)
    rows = phantom_rows(config.phantom)
    return parse_cohort(list(rows[0]), rows, PHANTOM_SHEET.absolute())


def cohort_name(config: Config) -> str:
    """Name of the cohort in tables and in MLflow: its folder's, or the phantom's difficulty."""
    if config.cohort is None:
        return f"phantom-{config.phantom.difficulty}"
    return Path(config.cohort).absolute().parent.name


def variant_settings(config: Config, name: str) -> dict[str, Any]:
    """Training settings of one variant, without the list of variants, which changes no training."""
    return resolve_variant(config.train, name, config.variants).model_dump(mode="json", exclude={"variants"})


def variant_records(config: Config) -> dict[str, dict[str, Any]]:
    """Base, seed and settings by variant."""
    settings = {name: variant_settings(config, name) for name in config.train.variants}
    return {
        name: {"base": base_of(name, config.variants), "seed": values["seed"], "settings": values}
        for name, values in settings.items()
    }


def describe_run(config: Config) -> dict[str, Any]:
    """What identifies a run: names and hashes (text), variants and the configuration itself."""
    values = config.model_dump(mode="json", by_alias=True, exclude={"report", "track"})
    return {
        "cohort": cohort_name(config),
        "difficulty": config.phantom.difficulty if config.cohort is None else "",
        "data_hash": data_hash(config),
        "config_hash": sha256_of_json(values),
        "commit": code_version(Path(cpmn.__file__).parent),
        "version": cpmn.__version__,
        "variants": variant_records(config),
        "config": values,
    }


def data_hash(config: Config) -> str:
    """Hash of the cohort: labels, splits, chosen series, and name and size of every file that it names.

    Contents are not read, which would take as long as a conversion; the hash of each scan's contents stands in
    `convert`'s JSON. The phantom's files follow from its settings, which are hashed instead. The same files give the
    same hash in another folder.
    """
    if config.cohort is None:
        return sha256_of_json(config.phantom.model_dump(mode="json"))
    return sha256_of_json([_signature(patient) for patient in load_cohort(config.cohort)])


def code_version(folder: Path) -> str:
    """Git commit of the source tree, with '+changes' if it is not clean; empty outside a repository.

    `dvc.lock` does not count: DVC rewrites it after each stage of one `dvc repro`.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        paths = (":/", ":(exclude,top,glob)**/dvc.lock")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", *paths)
        return commit + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def refuse_phantom_instead(results: Path, config: Config) -> None:
    """Raise CpmnError where the phantom would take the place of a user's results: a cohort that was not named again."""
    path = results / "track.json"
    if config.cohort is not None or not path.is_file():
        return
    if earlier := read_json(path).get("config", {}).get("cohort"):
        raise CpmnError(
            f"{results.absolute()} holds results of {earlier}, and now no cohort is named: the built-in phantom would "
            "replace them. Say cohort=... beside the other settings of one --config, since Snakemake takes the last "
            f"--config alone; or choose another --directory. If it is meant, remove {path}."
        )


def fold_folders(results: Path, variant: str) -> list[Path]:
    """Folders of a variant's folds by `splits.json`; those of an earlier configuration may still lie beside them."""
    folds = read_json(results / "train" / "splits.json")["folds"]
    return [results / "train" / variant / f"fold-{fold}" for fold in range(len(folds))]


def _signature(patient: Patient) -> list[Any]:
    named = (patient.ctpa, patient.nct, patient.ctpa_mask, patient.nct_mask, patient.nct_truth)
    named += (patient.vessels,) if patient.vessels else ()  # a cohort without them keeps its hash
    files = [sorted((one.name, one.stat().st_size) for one in files_there(path)) if path else [] for path in named]
    series = [name for name in (patient.ctpa_series, patient.nct_series) if name]  # nor one that names no series
    return [patient.patient_id, patient.label, patient.split, patient.group, files, *series]


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
