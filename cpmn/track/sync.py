"""Sending results to MLflow: whatever the server has not got."""

from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

from cpmn.errors import CpmnError
from cpmn.files import read_json, read_table, write_json
from cpmn.job.identity import fold_folders
from cpmn.track.database import ready
from cpmn.track.parent import Runs, start_parent
from cpmn.track.pictures import send_overlays, worst_registrations
from cpmn.track.registry import register
from cpmn.track.server import connect, end, run_each, send_figures, send_files, send_rows


def sync_fold(track: Mapping[str, Any], folder: Path) -> None:
    """Send a finished fold, `results/train/{variant}/fold-{k}`: missing rows of `history.csv` and the model files."""
    runs = Runs(track, folder.parents[2])
    rows = read_table(folder / "history.csv")
    run_id = runs.fold(folder.parent.name, folder.name.removeprefix("fold-"), rows)
    send_rows(runs.client, run_id, rows)
    names = ("model.safetensors", "plan.json", "history.csv")
    send_files(runs.client, run_id, "model", [folder / name for name in names])
    end(runs.client, run_id)


def sync_variant(track: Mapping[str, Any], folder: Path) -> None:
    """Send an evaluated variant, `results/evaluate/{variant}`: figures, tables, pictures, and a registered model.

    Whatever can be sent is sent; then the first error is raised.
    """
    results, variant = folder.parents[1], folder.name
    runs = Runs(track, results)
    client, run_id = runs.client, runs.variant(variant)
    names = ("metrics.json", "patients.csv", "decision.json", "roc.csv")
    run_each(
        [
            lambda: send_figures(client, run_id, flatten_metrics(read_json(folder / "metrics.json"))),
            lambda: send_files(client, run_id, "", [folder / name for name in names]),
            lambda: register(runs, run_id, variant),
            lambda: send_overlays(client, run_id, results, variant),
            lambda: end(client, run_id),
        ]
    )


def sync_report(track: Mapping[str, Any], folder: Path) -> None:
    """Attach the report, the comparison and the registrations to look at to the parent run, and end it.

    Where `annotate` outlined anybody, how well it did is a figure of the parent run: every variant learns from it.
    """
    runs, run_id = Runs(track, folder.parent), track["run_id"]
    annotate = folder.parent / "annotate"
    path, measured = folder / "run.json", annotate / "metrics.json"
    record = read_json(path) if path.is_file() else {}
    if record.get("annotate") and measured.is_file():  # else an earlier run left it
        send_figures(runs.client, run_id, flatten_metrics(read_json(measured), "annotate."))
        send_files(runs.client, run_id, "annotate", [measured, annotate / "patients.csv", annotate / "worklist.csv"])
    send_files(runs.client, run_id, "report", sorted(folder.iterdir()))
    send_files(runs.client, run_id, "evaluate", [folder.parent / "evaluate" / "comparison.csv"])
    for patient, picture in worst_registrations(folder.parent, record.get("registered", [])).items():
        send_files(runs.client, run_id, f"registration/{patient}", [picture])
    end(runs.client, run_id)


def sync_results(results: Path) -> int:
    """Send everything under `results` that the server does not have; returns the number of runs sent.

    Raises CpmnError where there is nothing to send, and whatever MLflow raises if it is still out of reach.
    """
    path = results / "track.json"
    if not path.is_file():
        raise CpmnError(f"{path} does not exist: run snakemake first, or give --results.")
    with chdir(path.resolve().parents[1]):  # the record's address and its files are named from the run's folder
        return _sync_all(Path(path.resolve().parent.name))


def _sync_all(results: Path) -> int:
    path = results / "track.json"
    track = read_json(path)
    if not _is_there(track):
        track |= start_parent(track)
        write_json(path, track)
    names = sorted(track["variants"])  # results of others may be left from an older configuration
    folds = [fold for name in names for fold in fold_folders(results, name) if (fold / "model.safetensors").is_file()]
    variants = [results / "evaluate" / name for name in names]
    variants = [folder for folder in variants if (folder / "metrics.json").is_file()]
    for folder in folds:
        sync_fold(track, folder)
    for folder in variants:
        sync_variant(track, folder)
    if (results / "report" / "index.html").is_file():
        sync_report(track, results / "report")
    return len(folds) + len(variants) + 1


def flatten_metrics(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """`metrics.json` as dotted names: `patient.auc` is the value, `patient.auc.low` and `.high` its interval."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten_metrics(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[name.removesuffix(".value")] = float(value)
    return flat


def _is_there(track: Mapping[str, Any]) -> bool:
    """Whether the server knows the parent run: it may never have been started, or the database was deleted since."""
    from mlflow.exceptions import MlflowException

    ready(track["uri"])
    try:
        run = connect(track["uri"]).get_run(track["run_id"]) if track["run_id"] else None
        return run is not None and run.info.lifecycle_stage == "active"  # not one that was deleted in the interface
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
