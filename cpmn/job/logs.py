"""Logging of a workflow job: to its own file and to the terminal."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cpmn.errors import CpmnError, MachineError, trouble_of_machine
from cpmn.job.dependencies import require_code

USER_ERROR = 2  # exit code of everything that the user can put right


@contextmanager
def job_log(path: Path | str, code: Mapping[str, str] | None = None) -> Iterator[None]:
    """Log to `path` and to standard error; a CpmnError, or trouble of the machine, ends the process with its
    message and exit code 2.

    code : of the job as its parameters name it; the job does not run with another (`require_code`).

    The traceback of any other exception goes to the log as well.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    logging.captureWarnings(True)
    Path(path).unlink(missing_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        # Appending: the processes of a training write to the same file.
        handlers=[logging.FileHandler(path, mode="a", encoding="utf-8"), logging.StreamHandler()],
        force=True,
    )
    logging.getLogger(__name__).info("python %s", sys.prefix)  # which environment a job really ran in
    with ending_in_a_message():
        require_code(code or {})
        yield


@contextmanager
def ending_in_a_message() -> Iterator[None]:
    """A CpmnError, or trouble of the machine, ends the process with its message in the log and exit code 2; the
    traceback of any other exception goes to the log as well."""
    try:
        yield
    except CpmnError as error:
        logging.getLogger(__name__).error("%s", error)
        sys.exit(USER_ERROR)
    except Exception as error:
        if trouble := trouble_of_machine(error):
            logging.getLogger(__name__).error("%s", MachineError(trouble))
            sys.exit(USER_ERROR)
        logging.getLogger(__name__).exception("unexpected failure")
        raise
