"""The command `cpmn import`: a public set as `cohort.csv` and embolus masks. Its scans stay where they are."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.cohort.sheet import PATIENT_ID, REQUIRED_COLUMNS
from cpmn.errors import CpmnError, PatientError
from cpmn.files import write_table
from cpmn.importing import cadpe, fumpe, inspect_set, read, rspect
from cpmn.importing.entry import Entry, Skipped
from cpmn.volume.images import write_image

KINDS: dict[str, Callable[[Path], list[Entry | Skipped]]] = {
    "fumpe": fumpe.find_entries,
    "cad-pe": cadpe.find_entries,
    "read": read.find_entries,
    "rspect": rspect.find_entries,
    "inspect": inspect_set.find_entries,
}
OPTIONAL = ("split", "group", "overrule")
MASKS = "ctpa_mask"


def import_dataset(
    kind: str,
    source: Path,
    output: Path,
    done: Callable[[str], object] = lambda _name: None,
    overrule: Collection[str] = (),
) -> tuple[list[dict[str, str]], list[Skipped]]:
    """Write `output`/cohort.csv and `output`/ctpa_mask/{patient}.nii.gz from a public set below `source`.

    Parameters
    ----------
    kind : one of `KINDS`.
    done : called with a patient's name after each.
    overrule : checks of masks whose refusal does not count, only warns.

    Returns
    -------
    The rows of the sheet, and who was left out and why. A patient whose mask is empty has label 0. The column `nct` is
    empty: no public set holds paired scans.

    Raises CpmnError if `source` is not laid out as the set is, no patient can be taken, or there is a sheet already.
    """
    source, output = Path(source).absolute(), Path(output).absolute()
    sheet = output / "cohort.csv"
    if sheet.exists():
        raise CpmnError(f"{sheet} is there already. Give another folder, or remove it.")
    if not source.is_dir():
        raise CpmnError(f"{source} is not a folder. Give the folder into which the data set was unpacked.")
    rows, skipped = [], []
    for entry in KINDS[kind](source):
        taken = entry if isinstance(entry, Skipped) else _take(entry, output, overrule)
        (skipped if isinstance(taken, Skipped) else rows).append(taken)
        done(entry.patient_id)
    if not rows:
        reasons = "\n".join(f"  {one.patient_id}: {one.reason}" for one in skipped)
        raise CpmnError(f"{source} holds no patient that can be taken.\n{reasons}".rstrip())
    for row in rows:
        row["overrule"] = " ".join(sorted(overrule)) if row["ctpa_mask"] else ""  # a run asks the mask again
    columns = [*REQUIRED_COLUMNS, *(name for name in OPTIONAL if any(row[name] for row in rows))]
    write_table(sheet, columns, rows)
    return rows, skipped


def _take(entry: Entry, output: Path, overrule: Collection[str]) -> dict[str, str] | Skipped:
    """A patient's row, after its mask was written."""
    if not PATIENT_ID.fullmatch(entry.patient_id):
        return Skipped(entry.patient_id, "the name cannot be a patient_id: letters, digits, '_' and '-'")
    try:
        mask = entry.mask(overrule=overrule) if entry.mask else None
    except PatientError as error:
        return Skipped(entry.patient_id, str(error).removeprefix(f"patient {error.patient}: "))
    marked = mask is not None and bool(np.any(sitk.GetArrayViewFromImage(mask)))
    path = Path(MASKS) / f"{entry.patient_id}.nii.gz"
    if mask is not None and marked:
        write_image(mask, output / path)
    label = int(marked) if entry.label is None else entry.label
    values = {"patient_id": entry.patient_id, "ctpa": str(entry.ctpa), "nct": "", "ctpa_mask": str(path) * marked}
    return values | {"label": str(label), "split": entry.split, "group": entry.group}
