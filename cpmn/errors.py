"""Errors a user can act on. The `cpmn` command prints them without a traceback and ends with exit code 2.

What is wrong with the data is told from trouble of the machine: the first excludes a patient, the second must not.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CpmnError(Exception):
    """Something the user gave is wrong; the message says what, where, and what to do."""


class PatientError(CpmnError):
    """One patient cannot be processed.

    Parameters
    ----------
    patient : identifier from `cohort.csv`.
    problem : what is wrong, as a clause ("the mask has 3 slices, the CT has 40").
    remedy : what to do about it, as an instruction.
    file : the file or folder concerned, where there is one.
    """

    def __init__(self, patient: str, problem: str, remedy: str, file: Path | str | None = None):
        self.patient, self.problem, self.remedy, self.file = patient, problem, remedy, file
        where = f" ({file})" if file else ""
        super().__init__(f"patient {patient}: {problem}{where}. {remedy}")


@contextmanager
def named(patient: str, file: Path, remedy: str = "Look at the scan.") -> Iterator[None]:
    """What is raised inside names the patient and the `file`; `remedy` is for what states none of its own."""
    try:
        yield
    except PatientError:
        raise
    except CpmnError as error:
        problem, _, own = str(error).partition(". ")
        raise PatientError(patient, problem, own or remedy, file) from error


WRONG_PATHS = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EOVERFLOW,
}
"""What the system says of a path or a place in a file that was named wrongly; whatever else it says is of itself."""
NO_MEMORY = ("allocate memory", "bad_alloc", "bad allocation")  # in the messages of ITK and of libraries in C++


class MachineError(OSError):
    """A full disk, failing hardware, too little memory, a file that may not be read: the data may be right.

    It is no CpmnError, so that nothing that judges data catches it: the job fails, and runs again when repeated.
    """

    def __init__(self, trouble: str):
        super().__init__(f"{trouble}. That is trouble of this machine, not of the data: put it right and repeat.")


def blame_machine(error: BaseException, file: Path | None = None) -> None:
    """Raise MachineError if `error`, or what led to it, is trouble of the machine.

    file : read to its end for libraries in C++, which do not say why they could not.
    """
    trouble = trouble_of_machine(error)
    if not trouble and file is not None:
        try:
            with file.open("rb") as stream:
                while stream.read(1 << 24):
                    pass
        except OSError as second:
            trouble = trouble_of_machine(second)
    if trouble:
        raise MachineError(trouble) from error


def trouble_of_machine(error: BaseException | None) -> str:
    """What the machine says in `error` or in those that led to it; empty if nothing."""
    while error is not None:
        if isinstance(error, MachineError):
            return str(error).split(". That is trouble of this machine")[0]
        if isinstance(error, OSError) and error.errno is not None and error.errno not in WRONG_PATHS:
            where = f" ({error.filename})" if error.filename else ""
            return f"{os.strerror(error.errno)}{where}"
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            return "there is too little memory"
        error = error.__cause__ or error.__context__
    return ""
