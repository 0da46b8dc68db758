"""The parent run of one state of configuration, data and code, and the runs of variants and folds below it."""

import getpass
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cpmn
from cpmn.config.root import load_config
from cpmn.files import read_json, sha256_of_files, sha256_of_json, write_json
from cpmn.job.identity import describe_run
from cpmn.track.database import ready
from cpmn.track.dataset import cohort_facts, dataset_input
from cpmn.track.server import Row, attempt, connect, harmless, has_other_curve, locked, send_parameters

SHARED_TAGS = ("cohort", "difficulty", "data_hash", "data_version", "config_hash", "commit", "version")

TRACK_FILE = Path("results/track.json")
RETRY_SECONDS = 60.0  # our choice: so that many folds behind a slow server do not wait for it one after the other


def track_of(values: Mapping[str, Any], path: Path | str = TRACK_FILE) -> dict[str, Any]:
    """`current_track` for the configuration's values, with the database in the run's folder as the default store."""
    config = load_config(dict(values))
    run = describe_run(config)
    with harmless("describing the cohort"):
        run |= cohort_facts(config)
    if run["commit"].endswith("+changes") or not run["commit"]:
        run["code"] = sha256_of_files(Path(cpmn.__file__).parent.rglob("*.py"))  # the commit does not tell the code
    return current_track(Path(path), run, config.track.uri or "sqlite:///mlflow.db", config.track.enabled)


def current_track(path: Path, run: Mapping[str, Any], uri: str, enabled: bool = True) -> dict[str, Any]:
    """The parent run that the present work belongs to, as `track.json` at `path` holds it.

    A new parent is started when data, configuration or code differ from those of the one in the file; a lock keeps
    folds that start at once from starting one each. Without MLflow, `run_id` is None; jobs that start within the next
    `RETRY_SECONDS` do not wait for it again.

    Parameters
    ----------
    run : from `cpmn.job.identity.describe_run`; `code` (a hash) besides, where the commit does not identify the code.
    uri : MLflow address.
    """
    key = sha256_of_json([run["data_hash"], run["config_hash"], run["commit"], run.get("code", ""), uri])
    with locked(path.with_name(".track.lock")):
        old = read_json(path) if path.is_file() else {}
        same, now = old.get("key") == key, datetime.now(UTC)
        if same and not enabled:
            return old | {"run_id": None}  # not written: switched on again, it goes on where it was
        if same and (old["run_id"] or now.timestamp() < old.get("failed", 0) + RETRY_SECONDS):
            return old
        track = {**run, "uri": uri, "experiment": run["cohort"], "experiment_id": None, "run_id": None, "key": key}
        track["started"] = old["started"] if same else f"{now:%Y-%m-%d %H:%M:%S}"
        if enabled:
            if old.get("run_id"):
                attempt("ending the run before", end_unfinished, old)
            track |= attempt("starting a run", start_parent, track) or {"failed": now.timestamp()}
        write_json(path, track)
        return track


def end_unfinished(track: Mapping[str, Any]) -> None:
    """Mark a parent run as killed that nothing will finish, because data, configuration or code changed since."""
    client = connect(track["uri"])
    if client.get_run(track["run_id"]).info.status == "RUNNING":
        client.set_terminated(track["run_id"], "KILLED")


def start_parent(track: Mapping[str, Any]) -> dict[str, Any]:
    """Create the experiment if need be, and the parent run; their ids.

    A parent that an attempt before created too late to be noted is found by its name and key.
    """
    ready(track["uri"])
    client, name = connect(track["uri"]), track["experiment"]
    found = client.get_experiment_by_name(name)
    experiment_id = found.experiment_id if found else _create_experiment(client, name, track["uri"])
    title = f"{name} {track['started']}"
    found_runs = client.search_runs([experiment_id], filter_string=f"tags.`mlflow.cpmn.key` = '{track['key']}'")
    runs = [run for run in found_runs if run.info.run_name == title]  # a name may hold what the filter cannot quote
    tags = {**run_tags(track), "level": "workflow", "mlflow.cpmn.key": track["key"]}
    run = runs[0] if runs else client.create_run(experiment_id, run_name=title, tags=tags)
    send_parameters(client, run, track["config"])
    client.log_inputs(run.info.run_id, datasets=[dataset_input(track)])
    return {"experiment_id": experiment_id, "run_id": run.info.run_id}


def run_tags(track: Mapping[str, Any], variant: str | None = None) -> dict[str, str]:
    """Tags that a developer filters runs by: those of the workflow, and with `variant` those of the variant."""
    tags = {key: str(track[key]) for key in SHARED_TAGS if key in track}
    commit = track["commit"].removesuffix("+changes")
    tags |= {"mlflow.user": _user(), "mlflow.source.name": "cpmn", "mlflow.source.git.commit": commit}
    if variant is None:
        return tags
    record = track["variants"][variant]
    return {**tags, "variant": variant, "base": record["base"], "seed": str(record["seed"])}


class Runs:
    """The runs below the parent of one `track.json`, created where they do not exist."""

    def __init__(self, track: Mapping[str, Any], results: Path):
        self.client, self.track, self.results = connect(track["uri"]), track, results
        self.lock = results / ".runs.lock"

    def variant(self, variant: str) -> str:
        """Run id of a variant, below the workflow's run."""
        tags = {**run_tags(self.track, variant), "level": "variant"}
        return self._child(self.track["run_id"], variant, tags, variant)

    def fold(self, variant: str, fold: str, rows: Sequence[Row] = ()) -> str:
        """Run id of a fold, below its variant's run.

        A run that holds another curve than `rows` of `history.csv` is of a training before, whose data have changed
        since in a way that no hash here tells: it is deleted, and a new one made, since a metric cannot be overwritten.
        """
        tags = {**run_tags(self.track, variant), "level": "fold", "fold": fold}
        parent, name = self.variant(variant), f"{variant} fold-{fold}"
        run_id = self._child(parent, name, tags, variant)
        if not has_other_curve(self.client, run_id, rows):
            return run_id
        self.client.delete_run(run_id)
        return self._child(parent, name, tags, variant)

    def _child(self, parent: str, name: str, tags: Mapping[str, str], variant: str) -> str:
        experiment, client = self.track["experiment_id"], self.client
        query = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.run_name = '{name}'"
        with locked(self.lock):
            found = client.search_runs([experiment], filter_string=query, max_results=1)
            tags = {**tags, "mlflow.parentRunId": parent}
            run = found[0] if found else client.create_run(experiment, run_name=name, tags=tags)
            send_parameters(client, run, self.track["variants"][variant]["settings"])
            if not run.inputs or not run.inputs.dataset_inputs:
                client.log_inputs(run.info.run_id, datasets=[dataset_input(self.track)])
        return run.info.run_id


def _create_experiment(client: Any, name: str, uri: str) -> str:
    """A new experiment: its files lie beside the results for a database; a server keeps them itself."""
    location = None if uri.startswith(("http://", "https://")) else Path("mlartifacts").absolute().as_uri()
    kind = {"mlflow.experimentKind": "custom_model_development"}  # the interface opens with runs and models in view
    return client.create_experiment(name, artifact_location=location, tags=kind)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return ""
