"""The `cpmn` command, a module for each sub-command: `add` says its arguments, `run` does it.

Every sub-command loads only what it needs; a user's mistake ends with exit code 2.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import cpmn
from cpmn.cli import (
    check,
    chest_phantom,
    export,
    import_set,
    info,
    join,
    nnunet,
    pair,
    phantom,
    predict,
    score,
    seal,
    track,
    watch,
)
from cpmn.errors import CpmnError
from cpmn.job.logs import USER_ERROR

COMMANDS = (
    predict,
    export,
    watch,
    seal,
    check,
    import_set,
    join,
    pair,
    score,
    nnunet,
    phantom,
    chest_phantom,
    track,
    info,
)  # in the order of `cpmn --help`


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads sleep, see workflow/rules/common.smk
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    try:
        return options.run(options) or 0
    except (CpmnError, OSError) as error:  # OSError: a file or folder that cannot be read or written, with its name
        print(f"cpmn: {error}", file=sys.stderr)
        return USER_ERROR
    except MemoryError:
        print("cpmn: there is too little memory for this", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="cpmn", description=cpmn.__doc__, epilog="Research use only.")
    top.add_argument("--version", action="version", version=f"cpmn {cpmn.__version__}")
    top.add_argument("-v", "--verbose", action="store_true", help="say what is being done")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return top
