"""`cpmn join`: make one cohort sheet of several."""

import argparse

from cpmn.cli.shared import Commands, path


def add(commands: Commands) -> None:
    join = commands.add_parser("join", help="make one cohort sheet of several: your pairs beside imported public sets")
    join.add_argument("sheets", nargs="+", metavar="COHORT", type=path, help="cohort.csv")
    join.add_argument("-o", "--output", metavar="FILE", type=path, required=True, help="the sheet to write")
    join.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from cpmn.cohort.join import join_sheets
    from cpmn.cohort.kinds import kind_lines

    patients = join_sheets(options.sheets, options.output)
    print(f"{options.output}: {len(patients)} patients")
    print("".join(f"  {line}\n" for line in kind_lines(patients)), end="")
    return 0
