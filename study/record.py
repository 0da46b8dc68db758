"""The curve of pairs without masks as runs in MLflow: a run a network, its figures over the number of outlines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.tracking import MlflowClient

from cpmn.scoring.metrics import Estimate
from study.few import FEW, NAMES, UNSIMULATED, WALL, Point, curve, letter
from study.figure import draw_curve
from study.uncertainty import auc, dice

EXPERIMENT = "study: pairs without masks"
NAME_ENDS = {WALL: "", UNSIMULATED: ", no simulated emboli"}
"""Of trainings that are recorded, and what ends their runs' names."""
FIGURES = {"auc": auc, "dice": dice}


def record_curve(uri: str, folder: Path = FEW) -> list[str]:
    """Write the runs, named as the pages name the networks, into the experiment `EXPERIMENT`; the names.

    Metrics `auc`, `dice` and the ends of their 95 % intervals have the number of outlined patients as step, `trainings`
    how many are behind a point. Runs of an earlier call are deleted first. Each holds the figure with all networks.
    Without simulated emboli on the NCT names end in what `NAME_ENDS` says.
    """
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
    for run in client.search_runs([experiment]):
        client.delete_run(run.info.run_id)
    names = []
    with TemporaryDirectory() as made:
        picture = Path(made) / "outlines.png"
        draw_curve(picture, dict.fromkeys(NAME_ENDS, folder))
        for ending, words in NAME_ENDS.items():
            for network, points in curve(ending, folder).items():
                run = {"run_name": letter(network) + words, "tags": {"mlflow.note.content": NAMES[network] + words}}
                _record(client, experiment, run, points, picture)
                names.append(run["run_name"])
    return names


def _record(
    client: MlflowClient, experiment: str, named: Mapping[str, Any], points: Sequence[Point], picture: Path
) -> None:
    run = client.create_run(experiment, **named)
    for point in points:
        metrics = {"trainings": float(point.trainings)}
        for name, figure in FIGURES.items():
            metrics |= _metrics(name, point.of(figure))
        for metric, value in metrics.items():
            client.log_metric(run.info.run_id, metric, value, step=point.outlined)
    client.log_artifact(run.info.run_id, str(picture))
    client.set_terminated(run.info.run_id)


def _metrics(name: str, found: Estimate) -> dict[str, float]:
    ends = {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
    return {metric: float(value) for metric, value in ends.items() if value is not None}
