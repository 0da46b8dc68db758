"""`cpmn score`: score predicted masks."""

import argparse
import json

from cpmn.cli.shared import Commands, path


def add(commands: Commands) -> None:
    score = commands.add_parser("score", help="score a folder of predicted masks against a cohort's references")
    score.add_argument(
        "predictions",
        type=path,
        help="folder of {patient_id}.nii.gz on the native NCT grid; a scores.csv in it (patient_id, score, perhaps "
        "decision) is taken for the patients, else the marked volume",
    )
    score.add_argument("--cohort", type=path, required=True, help="cohort.csv with nct_truth or nct_mask")
    score.add_argument("-o", "--output", type=path, help="JSON file to write (default: print)")
    score.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from cpmn.files import write_json
    from cpmn.scoring.folder import score_predictions

    figures = score_predictions(options.predictions, options.cohort)
    if options.output:
        write_json(options.output, figures)
    else:
        print(json.dumps(figures, indent=2))
