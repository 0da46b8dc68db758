"""`error.json`: why a scan was not read, for programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import cpmn
from cpmn.checks.finding import Refused
from cpmn.errors import CpmnError, PatientError, trouble_of_machine
from cpmn.files import write_json
from cpmn.job.redact import with_name_for_path, without_known_paths
from cpmn.predict.record import SCHEMA_VERSION, FailureRecord

REPORT_IT = "This is a fault of the software: report it with the log."


@contextmanager
def failure_recorded(path: Path, statement: str, source: Path) -> Iterator[None]:
    """Write why the work inside failed to `path`, without `source`'s own, and raise it again.

    An interruption by a person is no failure.
    """
    try:
        yield
    except Exception as error:
        write_json(path, _failure(error, statement, source).model_dump(mode="json"))
        raise


def now() -> str:
    """UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _failure(error: Exception, statement: str, source: Path) -> FailureRecord:
    kind, check, *texts = _told(error)
    problem, remedy = (without_known_paths(with_name_for_path(text, source, "scan")) for text in texts)
    return FailureRecord(
        schema_version=SCHEMA_VERSION,
        statement=statement,
        kind=kind,
        check=check,
        problem=problem,
        remedy=remedy,
        cpmn=cpmn.__version__,
        finished_at=now(),
    )


def _told(error: Exception) -> tuple:
    """Kind, check, problem and remedy. What is unexpected may quote anything of the scan, so its type alone is told."""
    if isinstance(error, Refused):
        return "refused", error.finding.check, error.finding.seen, error.finding.remedy
    if isinstance(error, PatientError):
        return "scan", None, error.problem, error.remedy
    if isinstance(error, CpmnError):
        return "call", None, str(error), ""
    if trouble := trouble_of_machine(error):
        return "machine", None, trouble, "Put it right and repeat."
    return "unexpected", None, type(error).__name__, REPORT_IT
