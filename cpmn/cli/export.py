"""`cpmn export`: write a trained model as one file, as ONNX or as a MONAI bundle."""

import argparse

from cpmn.cli.shared import Commands, path


def add(commands: Commands) -> None:
    export = commands.add_parser(
        "export",
        help="write a trained model as one file, as ONNX or as a MONAI bundle",
        description="Write the networks of all folds, their plans, the decision with its hash, the model card and a "
        "licence into one zip archive, which `cpmn predict --model` reads anywhere. Nothing in it is pickled. ONNX and "
        "MONAI's bundle are folders for other programs; each says in its README what it does not do.",
    )
    export.add_argument("model", type=path, help="results folder of a finished run; for onnx and monai a .cpmn too")
    export.add_argument("-o", "--output", type=path, required=True, help="file ending in .cpmn, or folder, to write")
    export.add_argument(
        "--format", choices=("cpmn", "onnx", "monai"), default="cpmn", help="what to write (default: cpmn)"
    )
    export.add_argument("--variant", default="cpmn", help="variant of a run (default: cpmn)")
    export.add_argument("--licence", help="of the weights, one line (default: as the .cpmn says, else not stated)")
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.format == "cpmn":
        from cpmn.model.package import export_model

        decision = export_model(options.model, options.variant, options.output, options.licence)
    else:
        from cpmn.model.exchange.monaibundle import export_monai
        from cpmn.model.exchange.onnxfolder import export_onnx
        from cpmn.model.modelfiles import find_model

        write = {"onnx": export_onnx, "monai": export_monai}[options.format]
        decision = write(find_model(options.model, options.variant), options.output, options.licence)
    assert decision.seal is not None  # it would not have been exported
    print(f"{options.output}: {decision.variant}, {len(decision.folds)} network(s), sha256 {decision.seal.sha256}")
