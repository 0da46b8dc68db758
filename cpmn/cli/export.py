"""`cpmn export`: write a trained model as one file."""

import argparse

from cpmn.cli.shared import Commands, path


def add(commands: Commands) -> None:
    export = commands.add_parser(
        "export",
        help="write a trained model as one file",
        description="Write the networks of all folds, their plans, the decision with its hash, the model card and a "
        "licence into one zip archive, which `cpmn predict --model` reads anywhere. Nothing in it is pickled.",
    )
    export.add_argument("results", type=path, help="results folder of a finished run")
    export.add_argument("-o", "--output", type=path, required=True, help="file to write, ending in .cpmn")
    export.add_argument("--variant", default="cpmn", help="variant to export (default: cpmn)")
    export.add_argument("--licence", help="of the weights, one line (default: not stated)")
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from cpmn.model.package import NOT_STATED, export_model

    decision = export_model(options.results, options.variant, options.output, options.licence or NOT_STATED)
    assert decision.seal is not None  # it would not have been exported
    print(f"{options.output}: {decision.variant}, {len(decision.folds)} network(s), sha256 {decision.seal.sha256}")
