"""`cpmn phantom`: write a phantom cohort."""

import argparse

from cpmn.cli.shared import Commands, path, progress
from cpmn.config.phantom import DIFFICULTIES
from cpmn.errors import CpmnError


def add(commands: Commands) -> None:
    phantom = commands.add_parser(
        "phantom",
        help="write a dual-phase phantom cohort, as DICOM or NIfTI",
        description="Write a synthetic cohort of paired CTPA and NCT with known clots and known motion. One patient of "
        "each pair has PE. The same settings give the same bytes. An interrupted command goes on when repeated; "
        "patients that are there with the same settings are kept. See docs/phantom.md.",
    )
    phantom.add_argument("-o", "--output", type=path, required=True, help="folder for the cohort and its cohort.csv")
    phantom.add_argument("--patients", type=int, metavar="N", help="number of patients (default: 12)")
    phantom.add_argument("--seed", type=int, metavar="S", help="seed of the cohort (default: 7)")
    phantom.add_argument(
        "--difficulty",
        choices=DIFFICULTIES,
        help="contrast of clots to blood on NCT: learnable +15 to +35 HU (default); mixed: the published mixture for "
        "each clot; realistic: the mixture once per patient; invisible: none, to see what leaks",
    )
    phantom.add_argument("--jobs", type=int, default=1, metavar="J", help="processes, 0.7 GB each (default: 1)")
    phantom.add_argument(
        "--truth-only", action="store_true", help="NCT and clot labels as NIfTI alone, without DICOM and CTPA"
    )
    phantom.add_argument(
        "--config", type=path, help="configuration file whose `phantom` section is used, e.g. config/benchmark.yaml"
    )
    phantom.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from cpmn.config.files import read_config
    from cpmn.phantom.cohort import make_cohort

    if options.jobs < 1:
        raise CpmnError(f"--jobs is {options.jobs}; it is the number of processes, at least 1.")
    given = {key: getattr(options, key) for key in ("patients", "seed", "difficulty")}
    config = read_config(options.config).phantom.changed({k: v for k, v in given.items() if v is not None})
    with progress(options.output, config.patients, "patients") as done:
        make_cohort(config, options.output, jobs=options.jobs, truth_only=options.truth_only, done=done)
