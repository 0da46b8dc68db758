"""Pulmonary arteries and veins as a mask on the NCT grid, and the ratio of marks in both.

Emboli lie in arteries, so what a method marks in veins is false: veins are an internal negative control of the same
patient (SPTA, github.com/LongxiZhou/Pulmonary-Embolism-Diagnosis-on-Non-contrast-CT). Masks come from the cohort sheet,
made from the NCT alone by a tool such as TotalSegmentator; hence they may be used at test time too.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.errors import CpmnError, PatientError
from cpmn.volume.images import describe_grid, on_grid_of, read_image

ARTERY, VEIN = 1, 2
PRIOR_ML = 0.3
"""Ours: the median volume of a clot (domain facts), so that fewer stray marks than one clot decide little."""


def read_vessels(patient_id: str, path: Path, nct: sitk.Image) -> sitk.Image:
    """The vessel mask (uint8: 0, 1 artery, 2 vein) on the grid of `nct`; flipped or swapped axes are turned.

    Raises PatientError if it cannot be read, lies on another grid, holds another value, or lacks arteries or veins.
    """
    try:
        mask = read_image(path)
    except CpmnError as error:
        raise PatientError(
            patient_id, f"the vessel mask cannot be read: {error}", "Give a readable file.", path
        ) from error
    placed = on_grid_of(nct, mask)
    if placed is None:
        problem = f"the vessel mask is {describe_grid(mask)}, the non-contrast CT is {describe_grid(nct)}"
        raise PatientError(patient_id, problem, "Make the mask from the NCT, on its voxels.", path)
    values = np.unique(sitk.GetArrayViewFromImage(placed))
    if set(values) - {0} != {ARTERY, VEIN}:
        shown = ", ".join(f"{value:g}" for value in values[:6]) + (", ..." if len(values) > 6 else "")
        remedy = f"Give 0 for background, {ARTERY} for pulmonary arteries and {VEIN} for veins; both must be there"
        raise PatientError(patient_id, f"the vessel mask holds the values {shown}", f"{remedy}.", path)
    return sitk.Cast(placed, sitk.sitkUInt8)


def artery_vein_ratio(marks: np.ndarray, vessels: np.ndarray, voxel_ml: float) -> float:
    """Share of the arteries that is marked over that of the veins: RER of SPTA, with a prior of ours.

        RER = (a / A + e) / (v / V + e),    e = PRIOR_ML / (A + V)

    A, V are the volumes of arteries and veins and a, v the marked parts of them, in mL. `PRIOR_ML` of marks spread
    evenly over all vessels is added: without any mark the ratio is 1, and it is finite where no vein is marked.
    Exchanging arteries and veins gives 1 / RER; more marks in arteries raise it, more in veins lower it; marks outside
    the vessels count for nothing. As a patient score only its order matters. NaN without arteries or without veins.

    Parameters
    ----------
    marks : (z, y, x), non-zero where an embolus is marked.
    vessels : (z, y, x), `ARTERY`, `VEIN` or 0.
    voxel_ml : volume of a voxel.
    """
    sizes = [np.count_nonzero(vessels == kind) * voxel_ml for kind in (ARTERY, VEIN)]
    if not all(sizes):
        return float("nan")
    marked = [np.count_nonzero(marks[vessels == kind]) * voxel_ml for kind in (ARTERY, VEIN)]
    prior = PRIOR_ML / sum(sizes)
    artery, vein = (part / size + prior for part, size in zip(marked, sizes, strict=True))
    return artery / vein
