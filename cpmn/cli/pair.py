"""`cpmn pair`: propose pairs from a hospital's export."""

import argparse
import sys
from collections import Counter

from cpmn.cli.shared import Commands, errors_alone, path
from cpmn.errors import CpmnError


def add(commands: Commands) -> None:
    pair = commands.add_parser(
        "pair",
        help="propose pairs of CTPA and non-contrast CT from a hospital's export",
        description="Write a cohort sheet with a row for each visit of a patient that has both scans, and beside it "
        "what became of every series. A person checks the pairs and fills in the labels. See "
        "docs/how-to/hospital-export.md.",
    )
    pair.add_argument("export", type=path, help="folder that the export was unpacked into")
    pair.add_argument("-o", "--output", type=path, required=True, help="cohort.csv to write")
    pair.add_argument(
        "--headers-only",
        action="store_true",
        help="read no pixels: contrast is told by the tags, often wrong",
    )
    pair.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from cpmn.config.convert import ConvertConfig
    from cpmn.files import write_table
    from cpmn.importing.pairing import SERIES_COLUMNS, SHEET_COLUMNS, propose_pairs

    series = options.output.with_name(f"{options.output.stem}-series.csv")
    if there := [path for path in (options.output, series) if path.exists()]:
        raise CpmnError(f"{there[0]} exists, perhaps with a person's work in it. Remove it, or give another name.")
    with tqdm(unit="patient", disable=None) as bar, errors_alone():
        found = propose_pairs(
            options.export, ConvertConfig(), look=not options.headers_only, done=lambda _name: bar.update()
        )
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    write_table(options.output, SHEET_COLUMNS, found.sheet)
    write_table(series, SERIES_COLUMNS, found.series)
    counts = Counter(row["taken_as"] for row in found.series)
    print(f"{options.output}: {len(found.sheet)} pairs proposed; {counts['left out']} series or kinds of file left out")
    print(f"Look at {series}, fill in the column label (1 = PE, 0 = not) and ctpa_mask, then run cpmn check.")
