"""Several cohort sheets as one: a hospital's pairs beside imported public sets."""

import os
from collections.abc import Sequence
from pathlib import Path

from cpmn.cohort.sheet import FILE_COLUMNS, OPTIONAL_COLUMNS, REQUIRED_COLUMNS, Patient, load_cohort
from cpmn.errors import CpmnError
from cpmn.files import write_table


def join_sheets(sheets: Sequence[Path], output: Path) -> list[Patient]:
    """Write the rows of `sheets` into one, in their order, and return them; every other file stays where it is.

    Paths below the output's folder are relative to it, others absolute.

    Raises CpmnError for a sheet that is not valid, an id or group that stands in two of them, and an output that is
    one of them.
    """
    if any(path.resolve() == output.resolve() for path in sheets):
        raise CpmnError(f"{output} is one of the sheets that are joined. Choose another name.")
    owners: dict[str, Path] = {}
    groups: dict[str, Path] = {}
    joined = []
    for path in sheets:
        for patient in load_cohort(path):
            if other := owners.get(patient.patient_id.lower()):
                raise CpmnError(f"patient {patient.patient_id} stands in {other} and in {path}. Rename one of them.")
            if (other := groups.setdefault(patient.group, path)) != path:
                raise CpmnError(
                    f"group {patient.group} stands in {other} and in {path}. "
                    "Groups are never divided: rename one of them."
                )
            owners[patient.patient_id.lower()] = path  # as folders are named that some systems do not tell apart
            joined.append(patient)
    used = [name for name in OPTIONAL_COLUMNS if any(_cell(patient, name, output) for patient in joined)]
    columns = [*REQUIRED_COLUMNS, *used]
    write_table(output, columns, [{name: _cell(patient, name, output) for name in columns} for patient in joined])
    return joined


def _cell(patient: Patient, column: str, output: Path) -> str:
    value = getattr(patient, column)
    if column == "group":
        return "" if value == patient.patient_id else value
    if column == "overrule":
        return " ".join(value)
    if column in FILE_COLUMNS and value is not None:
        folder = output.absolute().parent
        return os.path.relpath(value, folder) if value.is_relative_to(folder) else str(value)
    return "" if value is None else str(value)
