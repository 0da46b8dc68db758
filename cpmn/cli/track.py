"""`cpmn track`: records of runs in MLflow."""

import argparse
from pathlib import Path

from cpmn.cli.shared import Commands, path
from cpmn.errors import CpmnError


def add(commands: Commands) -> None:
    track = commands.add_parser("track", help="records of runs in MLflow")
    actions = track.add_subparsers(required=True, metavar="ACTION")
    sync = actions.add_parser("sync", help="send what a failed or slow MLflow server did not take")
    sync.add_argument("--results", type=path, default=Path("results"), help="results folder (default: results)")
    sync.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from cpmn.track import sync_results

    try:
        print(f"sent {sync_results(options.results)} runs")
    except (MlflowException, SQLAlchemyError) as error:
        raise CpmnError(f"MLflow did not take everything: {error}. Run it again when the server is there.") from error
