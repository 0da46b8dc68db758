"""`cpmn check`: check a cohort sheet, and its scans."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpmn.cli.shared import Commands, errors_alone, path
from cpmn.errors import CpmnError
from cpmn.job.logs import USER_ERROR


def add(commands: Commands) -> None:
    check = commands.add_parser("check", help="check a cohort sheet, and that the files it names exist")
    check.add_argument("cohort", type=path, help="cohort.csv")
    check.add_argument(
        "--deep", action="store_true", help="read every scan and hold its facts against each other, before any run"
    )
    check.add_argument("--headers-only", action="store_true", help="with --deep: read no pixels, which takes minutes")
    check.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="J",
        help="with --deep: processes (default: one a core)",
    )
    check.add_argument(
        "-o", "--output", type=path, default=Path("check"), help="with --deep: folder of check.csv and check.html"
    )
    check.add_argument(
        "--config", type=path, help="configuration file that the run will have, which decides what can be trained on"
    )
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from cpmn.cohort.roles import teaching_nobody
    from cpmn.cohort.sheet import load_cohort, missing_files, shared_scans
    from cpmn.config.files import read_config
    from cpmn.job.trainable import lessons, trainable_splits

    config = read_config(options.config)
    patients = load_cohort(options.cohort)
    problems = [f"patient {p.patient_id}: {problem}" for p in patients for problem in missing_files(p)]
    for message in [*problems, *(f"warning: {warning}" for warning in shared_scans(patients))]:
        print(message, file=sys.stderr)
    positives = sum(patient.label for patient in patients)
    print(f"{len(patients)} patients, {positives} with PE, {len(problems)} problems")
    try:
        idle, problem = teaching_nobody(trainable_splits(patients, config)), None
    except CpmnError as error:  # no problem of a sheet for `cpmn score`
        idle, problem = set(), error
    print("".join(f"  {line}\n" for line in lessons(patients, config, idle)), end="")
    if problem:
        print(f"As it is, this cohort cannot be trained on: {problem}")
    if options.deep:
        return USER_ERROR if _check_deeply(patients, config.convert, options) or problems else 0
    print("What is in the scans and masks was not looked at: --deep does, and so do the run's first stages.")
    return USER_ERROR if problems else 0


def _check_deeply(patients: Sequence[Any], settings: Any, options: argparse.Namespace) -> bool:
    """Ask all checks of all scans; whether any refuses."""
    from tqdm import tqdm

    from cpmn.checks.deep import check_deeply, write_findings

    with tqdm(total=len(patients), unit="patient", disable=None) as bar, errors_alone():
        rows = check_deeply(
            patients,
            settings,
            jobs=options.jobs,
            headers_only=options.headers_only,
            done=lambda _name: bar.update(),
        )
    write_findings(rows, options.output)
    counts = Counter(row.outcome for row in rows)
    print(f"{counts['refused']} refused, {counts['warned']} warned of, {counts['passed']} passed: look at")
    print(f"{options.output / 'check.html'}")
    return counts["refused"] > 0
