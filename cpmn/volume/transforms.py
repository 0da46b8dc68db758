"""Applying ANTs transform files with SimpleITK.

`register` writes `affine.mat` (A), `warp.nii.gz` (displacement u) and `inverse_warp.nii.gz` (v), all computed with the
NCT as the fixed and the CTPA as the moving image. As in every ITK registration the transform maps *points* from fixed
to moving space, which is what resampling the moving image onto the fixed grid needs:

    NCT point x  ->  CTPA point  A(x + u(x))          `load_transform`
    CTPA point y ->  NCT point   w + v(w), w = A^-1 y   `load_inverse_transform`

(order of composition: antsApplyTransforms, `-t warp -t affine`; tests hold both against ANTs itself). Outside the
grid of a warp its displacement is zero.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.errors import CpmnError, blame_machine
from cpmn.volume.nifti import check_values


def load_transform(affine: Path | str, warp: Path | str | None = None) -> sitk.CompositeTransform:
    """Transform from NCT points to CTPA points (mm, LPS); without `warp` its affine part alone.

    Raises CpmnError if a file is absent or cannot be read.
    """
    transform = sitk.CompositeTransform([_read_affine(affine)])
    if warp is not None:
        transform.AddTransform(sitk.DisplacementFieldTransform(read_warp(warp)))  # the last added is applied first
    return transform


def load_inverse_transform(affine: Path | str, inverse_warp: Path | str | None = None) -> sitk.CompositeTransform:
    """Transform from CTPA points to NCT points (mm, LPS); without `inverse_warp` its affine part alone.

    Raises CpmnError if a file is absent or cannot be read.
    """
    inverse_affine = _read_affine(affine).GetInverse()
    if inverse_warp is None:
        return sitk.CompositeTransform([inverse_affine])
    warp = sitk.DisplacementFieldTransform(read_warp(inverse_warp))
    return sitk.CompositeTransform([warp, inverse_affine])


def read_warp(path: Path | str) -> sitk.Image:
    """Displacement field (x, y, z components in mm, LPS) as a vector image in double precision."""
    _check_exists(path)
    try:
        check_values(Path(path))
        field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    except (OSError, RuntimeError, ValueError) as error:
        blame_machine(error, Path(path))
        raise CpmnError(f"warp {path} cannot be read. Run the registration of this patient again.") from error
    if field.GetDimension() != 3 or field.GetNumberOfComponentsPerPixel() != 3:
        raise CpmnError(f"{path} is not a 3D displacement field. Run the registration of this patient again.")
    return field


def jacobian_determinant(affine: Path | str, warp: Path | str) -> sitk.Image:
    """Determinant of the Jacobian of `load_transform` on the grid of the warp: CTPA volume per NCT volume.

    1 is no change, above 1 the CTPA's lung is larger there, 0 or less is folding.
    """
    scale = float(np.linalg.det(np.reshape(_read_affine(affine).GetMatrix(), (3, 3))))
    return sitk.DisplacementFieldJacobianDeterminant(read_warp(warp)) * scale


def transform_points(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    """Map physical points, shape (n, 3) ordered (x, y, z) in mm."""
    return np.array([transform.TransformPoint(point) for point in np.asarray(points, dtype=float).tolist()])


def _read_affine(path: Path | str) -> sitk.AffineTransform:
    _check_exists(path)
    try:
        return sitk.AffineTransform(sitk.ReadTransform(str(path)))
    except RuntimeError as error:
        blame_machine(error, Path(path))
        raise CpmnError(f"affine {path} cannot be read. Run the registration of this patient again.") from error


def _check_exists(path: Path | str) -> None:
    if not Path(path).is_file() or Path(path).stat().st_size == 0:
        raise CpmnError(f"transform {path} is absent or empty. Run the registration of this patient again.")
