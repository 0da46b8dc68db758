"""The chest of `benchmarks.contradictions` as NIfTI files that say different things of where it lies."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from benchmarks.contradictions import LEAN, Input, chest, chest_hu, gap_mm

SCANNER = 1  # NIfTI's code of a form that states the scanner's coordinates
Form = Callable[[np.ndarray], np.ndarray]


def right(form: np.ndarray) -> np.ndarray:
    """The form (4, 4) as it is."""
    return form


def flipped(axis: int) -> Form:
    """The form of the mirror image along an axis, about the same middle."""

    def change(form: np.ndarray) -> np.ndarray:
        other = form.copy()
        other[:3, axis] *= -1
        other[:3, 3] += form[:3, axis] * (chest_hu().shape[2 - axis] - 1)
        return other

    return change


def leaning(form: np.ndarray) -> np.ndarray:
    """The form whose columns lean by `LEAN`."""
    other = form.copy()
    other[:3, 1] += np.tan(LEAN) * form[:3, 0]
    return other


def image(
    change: Form = right, *, s: Form | None = None, q: Form | None = None, size: bool = True, same: bool = True
) -> Input:
    """The chest as NIfTI: `change` makes its values of HU (z, y, x; LPS), `s` and `q` its forms of the right one.

    A form that is None is not stated. Without `size` the voxel size is 0.
    """

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        made = nibabel.Nifti1Image(np.ascontiguousarray(change(chest_hu()).astype(np.int16).T), None)
        made.header.set_zooms(_voxel())
        for form, state in ((s, made.header.set_sform), (q, made.header.set_qform)):
            state(None if form is None else form(_form()), 0 if form is None else SCANNER)
        if not size:
            made.header["pixdim"][1:4] = 0
        nibabel.save(made, folder / "scan.nii")
        return folder / "scan.nii"

    return Input(write, same=same)


def _voxel() -> tuple[float, float, float]:
    down, across = (float(mm) for mm in chest()[0].PixelSpacing)
    return across, down, gap_mm()


def _form() -> np.ndarray:
    """Index (x, y, z) of `chest_hu` to RAS in mm (4, 4)."""
    form = np.diag([*_voxel(), 1.0])
    form[:3, 3] = [float(mm) for mm in chest()[0].ImagePositionPatient]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ form
