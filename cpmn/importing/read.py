"""READ (de Andrade et al., Sci Data 2023;10:518): 40 CTPA as DICOM, masks as NIfTI; published in two layouts.

    images/GE (DICOM files)/01GE/*.dcm                      rs/01GE.nii.gz
    CT scans (DICOM files)/GE (DICOM files)/01GE/*.dcm      Ground truth (...)/GE (NiFTI files)/01GE.nii.gz

Voxels of both have the same indices, but the headers disagree: direction along z, and the spacing's last digits. So
a mask is placed by its indices, and where the voxels lie in the patient is the DICOM's to say.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.errors import CpmnError, PatientError
from cpmn.importing.entry import Entry, Skipped
from cpmn.importing.masks import mask_of_slices
from cpmn.volume.images import read_image

SUFFIX = ".nii.gz"


def find_entries(source: Path) -> list[Entry | Skipped]:
    """Patients anywhere below `source`: folders of .dcm files, and the .nii.gz file of the same name.

    Raises CpmnError if there is none.
    """
    folders = sorted({path.parent for path in source.rglob("*.dcm")})
    if not folders:
        raise CpmnError(f"{source} holds no folder of .dcm files: this is not READ as it is published.")
    masks = {path.name.removesuffix(SUFFIX): path for path in source.rglob(f"*{SUFFIX}")}
    return [_entry(folder, masks.get(folder.name)) for folder in folders]


def _entry(folder: Path, mask: Path | None) -> Entry | Skipped:
    if mask is None:
        return Skipped(folder.name, f"there is no {folder.name}{SUFFIX}")
    return Entry(folder.name, folder, mask=partial(_mask, folder.name, folder, mask))


def _mask(patient: str, folder: Path, path: Path, overrule: Collection[str] = ()) -> sitk.Image:
    try:
        image = read_image(path)
    except CpmnError as error:
        raise PatientError(patient, str(error).rstrip("."), "Download it again.", path) from error
    labels: np.ndarray = sitk.GetArrayFromImage(image)
    return mask_of_slices(patient, folder, lambda: labels, image.GetSpacing(), overrule)
