"""Errors a user can act on. The `cpmn` command prints them without a traceback and ends with exit code 2."""

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
