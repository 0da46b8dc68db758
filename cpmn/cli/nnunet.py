"""`cpmn nnunet`: write a run's scans, labels and folds as a data set for nnU-Net v2."""

import argparse

from cpmn.cli.shared import Commands, path


def add(commands: Commands) -> None:
    nnunet = commands.add_parser("nnunet", help="write a run's scans, labels and folds as a data set for nnU-Net v2")
    nnunet.add_argument("results", type=path, help="results of a run (RUN/results)")
    nnunet.add_argument("--cohort", type=path, required=True, help="the cohort.csv of that run")
    nnunet.add_argument("-o", "--output", type=path, required=True, help="new folder DatasetNNN_NAME, in nnUNet_raw")
    nnunet.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from cpmn.train.nnunet import write_dataset

    found = write_dataset(options.results, options.cohort, options.output)
    print(f"{options.output}: {len(found['train'])} patients to train on, {len(found['test'])} to predict")
    if found["left_out"]:
        print(f"left out, without a label that can be used: {', '.join(found['left_out'])}")
