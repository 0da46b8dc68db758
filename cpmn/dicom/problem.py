"""The error that the parts of `convert` raise before the patient's name is added."""

from pathlib import Path


class SeriesProblem(Exception):
    """A scan cannot be converted; the stage turns this into a PatientError.

    Parameters are those of `PatientError`: `problem` as a clause, `remedy` as an instruction, `file` where one is
    to blame.
    """

    def __init__(self, problem: str, remedy: str, file: Path | None = None):
        self.problem, self.remedy, self.file = problem, remedy, file
        super().__init__(f"{problem}. {remedy}")
