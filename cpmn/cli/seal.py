"""`cpmn seal`: vouch for a model whose files were changed on purpose."""

import argparse

from cpmn.cli.shared import Commands, path
from cpmn.errors import CpmnError


def add(commands: Commands) -> None:
    seal = commands.add_parser(
        "seal",
        help="vouch for a model whose files were changed on purpose",
        description="A model is refused when its weights, plan or decision are not what they were when it was "
        "evaluated. This command takes them as they are. The reason stands in the model and in every result from then "
        "on, and the model gets another hash.",
    )
    seal.add_argument(
        "model", type=path, help="results folder of a finished run, or the folder that a .cpmn file was unpacked to"
    )
    seal.add_argument("--variant", default="cpmn", help="variant of a run (default: cpmn)")
    seal.add_argument("--reason", required=True, metavar="TEXT", help="what was changed, and why")
    seal.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from cpmn.model.modelfiles import DECISION_FILE, ZippedFiles, find_model
    from cpmn.model.seal import reseal

    files = find_model(options.model, options.variant)
    if isinstance(files, ZippedFiles):
        raise CpmnError(f"{options.model} cannot be changed in place. Unpack it into a folder, and seal that.")
    decision = reseal(files, files.path(DECISION_FILE), options.reason)
    assert decision.seal is not None  # just made
    print(f"{files.where}: sealed as {decision.seal.sha256}")
