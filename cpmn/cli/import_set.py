"""`cpmn import`: make a cohort sheet of a public data set."""

import argparse
import sys
from collections import Counter

from cpmn.cli.shared import Commands, path

DATASETS = ("fumpe", "cad-pe", "read", "rspect", "inspect")  # as in cpmn.importing.stage, which takes time to load


def add(commands: Commands) -> None:
    added = commands.add_parser(
        "import",
        help="make a cohort sheet and masks from a public PE data set",
        description="Write DEST/cohort.csv and DEST/ctpa_mask from a public set as it was unpacked; its scans stay "
        "where they are. No public set holds a non-contrast CT of the same patients: the column nct stays empty until "
        "you fill it in. See docs/how-to/public-data.md.",
    )
    added.add_argument("kind", metavar="KIND", type=str.lower, choices=DATASETS, help=", ".join(DATASETS))
    added.add_argument("source", metavar="SRC", type=path, help="folder of the unpacked set")
    added.add_argument("-o", "--output", metavar="DEST", type=path, required=True, help="folder for sheet and masks")
    added.add_argument(
        "--overrule",
        action="append",
        default=[],
        metavar="CHECK",
        help="take masks that this check refuses, with a warning (docs/reference/checks.md); may be repeated",
    )
    added.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from cpmn.importing.stage import import_dataset

    with tqdm(unit="patient", disable=None) as bar:
        rows, skipped = import_dataset(
            *(options.kind, options.source, options.output, lambda _name: bar.update()), overrule=options.overrule
        )
    for one in skipped:
        print(f"left out: {one.patient_id}: {one.reason}", file=sys.stderr)
    counts = Counter(row["label"] for row in rows), sum(bool(row["ctpa_mask"]) for row in rows)
    print(f"{options.output / 'cohort.csv'}: {len(rows)} CTPA, {counts[0]['1']} with PE, {counts[1]} with a mask")
    print(
        "The column nct is empty: no public set holds non-contrast scans. It can be filled in where you have scans of "
        "these same patients; never pair another patient's."
    )
    return 0
