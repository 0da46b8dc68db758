"""The curve of pairs without masks as runs in MLflow: a run a network, its figures over the number of outlines."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.tracking import MlflowClient

from cpmn.scoring.metrics import Estimate
from study.few import FEW, NAMES, curve, letter
from study.figure import draw_curve
from study.uncertainty import auc, dice

EXPERIMENT = "study: pairs without masks"
FIGURES = {"auc": auc, "dice": dice}


def record_curve(uri: str, folder: Path = FEW) -> list[str]:
    """Write the runs, named as the pages name the networks, into the experiment `EXPERIMENT`; the names.

    Metrics `auc`, `dice` and the ends of their 95 % intervals have the number of outlined patients as step, `trainings`
    how many are behind a point. Runs of an earlier call are deleted first. Each holds the figure with all networks.
    """
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
    for run in client.search_runs([experiment]):
        client.delete_run(run.info.run_id)
    curves = {name: curve(figure, folder=folder) for name, figure in FIGURES.items()}
    with TemporaryDirectory() as made:
        picture = Path(made) / "outlines.png"
        draw_curve(picture, folder)
        for network in curves["auc"]:
            _record(client, experiment, network, curves, picture)
    return [letter(network) for network in curves["auc"]]


def _record(client: MlflowClient, experiment: str, network: str, curves: dict, picture: Path) -> None:
    run = client.create_run(experiment, run_name=letter(network), tags={"mlflow.note.content": NAMES[network]})
    for name, found in curves.items():
        for point in found[network]:
            for metric, value in _metrics(name, point.estimate).items():
                client.log_metric(run.info.run_id, metric, value, step=point.outlined)
            client.log_metric(run.info.run_id, "trainings", point.trainings, step=point.outlined)
    client.log_artifact(run.info.run_id, str(picture))
    client.set_terminated(run.info.run_id)


def _metrics(name: str, found: Estimate) -> dict[str, float]:
    ends = {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
    return {metric: float(value) for metric, value in ends.items() if value is not None}
