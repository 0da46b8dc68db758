"""FUMPE (Masoudi et al., Sci Data 2018;5:180180): 35 CTPA as DICOM, masks as MATLAB files.

    CT_scans/PAT001/D0001.dcm ...
    GroundTruth/PAT001.mat          # variable Mask: (row, column, slice), slices in the order of the file names

Two patients have empty masks: they have no PE.
"""

from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from cpmn.errors import PatientError, blame_machine
from cpmn.importing.entry import Entry, Skipped, required
from cpmn.importing.masks import mask_of_slices


def find_entries(source: Path) -> list[Entry | Skipped]:
    """Patients below `source`, which holds CT_scans and GroundTruth. Raises CpmnError if it does not."""
    scans, masks = required(source / "CT_scans", "FUMPE"), required(source / "GroundTruth", "FUMPE")
    folders = sorted(path for path in scans.iterdir() if path.is_dir())
    return [_entry(folder, masks / f"{folder.name}.mat") for folder in folders]


def _entry(folder: Path, mask: Path) -> Entry | Skipped:
    if not mask.is_file():
        return Skipped(folder.name, f"{mask} does not exist")
    read = partial(read_mask, folder.name, mask)
    return Entry(folder.name, folder, mask=partial(mask_of_slices, folder.name, folder, read))


def read_mask(patient: str, path: Path) -> np.ndarray:
    """Variable `Mask` as (slice, row, column). Raises PatientError if the file does not hold it."""
    try:
        values = loadmat(path, variable_names=["Mask"])["Mask"]
    except Exception as error:  # scipy raises anything for a damaged file, NotImplementedError for MATLAB 7.3
        blame_machine(error)
        problem = f"the mask cannot be read as a MATLAB file (before 7.3) with a variable Mask ({error!r})"
        raise PatientError(patient, problem, "Download it again.", path) from error
    if values.ndim != 3:
        raise PatientError(patient, f"the mask has {values.ndim} axes, not 3", "Download it again.", path)
    return np.transpose(values, (2, 0, 1))
