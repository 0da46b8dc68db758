"""`cpmn chest-phantom`: make pairs with simulated emboli from real chests."""

import argparse

from cpmn.cli.shared import Commands, path, progress
from cpmn.config.phantom import DIFFICULTIES


def add(commands: Commands) -> None:
    chest = commands.add_parser(
        "chest-phantom",
        help="make pairs with simulated emboli from real non-contrast chests",
        description="Write a cohort of paired CTPA and NCT from real non-contrast chests: anatomy and noise are real, "
        "contrast medium, emboli and motion computed. The last chest is for testing. An interrupted command goes on "
        "when repeated; pairs that are there with the same settings are kept. See docs/real-anatomy.md.",
    )
    chest.add_argument("series", type=path, nargs="+", help="two chests or more: folders of DICOM files, or HU images")
    chest.add_argument("-o", "--output", type=path, required=True, help="folder for the cohort and its cohort.csv")
    chest.add_argument(
        "--pairs", type=int, default=4, help="pairs per chest, 4 or more, every second one with emboli (default: 4)"
    )
    chest.add_argument("--seed", type=int, default=7, help="the same seed gives the same bytes (default: 7)")
    chest.add_argument(
        "--difficulty",
        choices=DIFFICULTIES,
        default="learnable",
        help="contrast of clots to blood on NCT, as in cpmn phantom (default: learnable)",
    )
    chest.add_argument("--shrink", type=int, default=2, help="average in-plane voxels in N x N blocks (default: 2)")
    chest.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from cpmn.phantom.chest.stage import write_chest_cohort

    given = {name: getattr(options, name) for name in ("pairs", "seed", "difficulty", "shrink")}
    with progress(options.output, len(options.series) * options.pairs, "pairs") as done:
        write_chest_cohort(options.series, options.output, **given, done=done)
