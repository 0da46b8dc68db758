"""Each run of the plan in MLflow: `mlflow.db` of the data folder, one experiment per difficulty."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks.evidence.plan import RESULTS, Plan, Run, data_root
from benchmarks.evidence.training import model_name
from cpmn.files import read_json
from cpmn.train.stage import HISTORY_FILE


def database() -> str:
    """Address of the records."""
    return f"sqlite:///{data_root() / 'mlflow.db'}"


def record_stored(plan: Plan) -> list[str]:
    """Log every stored run of the plan, as on a machine that has none of them; their names."""
    stored = [run for run in plan.runs if (RESULTS / run.name / "run.json").is_file()]
    for run in stored:
        record(plan, run, read_json(RESULTS / run.name / "run.json"))
    return [run.name for run in stored]


def record(plan: Plan, run: Run, facts: Mapping[str, Any]) -> None:
    """Log settings, stored history and figures of a run, `facts` as in `run.json`; a failure only warns.

    A run that is there already (the same model, stored again with more patients) gets the new figures.
    """
    from cpmn.track import server  # sets MLflow's environment before it is imported

    with server.harmless(f"recording {run.name}"), server.locked(data_root() / ".mlflow.lock"):
        client = server.connect(database())
        made = _run_of(client, plan, run)
        server.send_parameters(client, made, facts["settings"] | {"variant": run.label, "trial": run.trial})
        history = pd.read_csv(RESULTS / run.name / HISTORY_FILE, dtype=str).fillna("")
        server.send_rows(client, made.info.run_id, history.to_dict("records"))  # pyright: ignore[reportArgumentType]
        server.send_figures(client, made.info.run_id, figures_of(facts["figures"]))
        client.set_tag(made.info.run_id, "commit", facts["training"]["commit"])
        server.end(client, made.info.run_id)


def figures_of(figures: Mapping[str, Any]) -> dict[str, float]:
    """What runs are compared by: the values of `run.json`'s figures as `cohort_name`."""
    values = {
        f"{role}_{name}": found[block][name]["value"]
        for role, found in figures.items()
        for block, name in (
            ("patient", "auc"),
            ("patient", "sensitivity"),
            ("patient", "specificity"),
            ("voxel", "dice"),
        )
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def _run_of(client: Any, plan: Plan, run: Run) -> Any:
    """The run of this name and model, made if it is not there."""
    name, experiment, model = run.name.split("/", 1)[1], f"evidence-{run.difficulty}", model_name(plan, run)
    found = client.get_experiment_by_name(experiment)
    number = found.experiment_id if found else client.create_experiment(experiment)
    there = client.search_runs([number], f"tags.`mlflow.runName` = '{name}' and tags.model = '{model}'", max_results=1)
    return there[0] if there else client.create_run(number, run_name=name, tags={"model": model})
