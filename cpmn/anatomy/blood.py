"""The HU of a patient's own blood on NCT: what a clot there is brighter or darker than.

Unenhanced blood has 35 to 65 HU by the haematocrit (domain facts), and a clot differs from it by less than patients
differ from each other: the same 60 HU are a clot in one and blood in another.
"""

import logging

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.anatomy.lungs import between_lungs, segment_lungs
from cpmn.errors import CpmnError

logger = logging.getLogger(__name__)

LOOK_MM = 4.0  # resolution at which the image is looked at: noise is averaged away, the aorta has 20-30 mm
FRONT_SHARE = 0.6  # of the lungs' depth: heart and great vessels lie there, the spine behind
UPPER_SHARE = 0.4  # our choice, of the lungs' height: great vessels, above heart muscle and liver
SOFT_HU = (0.0, 110.0)  # our choice: fat and airways lie below, calcium, bone and contrast medium above
FEWEST_VOXELS = 100  # our choice, of about 64 mm3: 6 mL; phantoms have at least 390


def blood_hu(nct: sitk.Image) -> float | None:
    """Median HU of the great vessels above the heart, or None where lungs or vessels cannot be found.

    nct : NCT (or the crop to its lungs' box) in HU, any axes.

    Taken from the tissue between the front 60 % of the lungs in their upper 40 %, averaged to about 4 mm and one such
    voxel away from fat, lung and bone. Ours; error in 2,190 phantoms of `docs/protocol.md`: 0.1 HU (SD 1.6).
    """
    nct = sitk.DICOMOrient(nct, "LPS")
    try:
        lungs = segment_lungs(nct, spacing_mm=LOOK_MM)
    except CpmnError:
        return None
    hu, lung, between = front_mediastinum(nct, lungs)
    slices = np.flatnonzero(lung.any(axis=(1, 2)))
    between[: int(slices[0] + (1 - UPPER_SHARE) * (slices[-1] - slices[0]))] = False
    core = ndimage.binary_erosion((hu > SOFT_HU[0]) & (hu < SOFT_HU[1]))
    blood = hu[between & core]
    return float(np.median(blood)) if blood.size >= FEWEST_VOXELS else None


def window_center(nct: sitk.Image, fixed: float, by_blood: bool) -> float:
    """Centre of an NCT's window in HU: `fixed`, or with `by_blood` the patient's own blood where it can be measured."""
    if not by_blood:
        return fixed
    measured = blood_hu(nct)
    if measured is None:
        logger.warning("no great vessels found between the lungs: blood is taken to have %g HU", fixed)
        return fixed
    return measured


def look_factors(image: sitk.Image) -> list[int]:
    """How many voxels (x, y, z) are averaged to one of about `LOOK_MM`."""
    return [max(1, round(LOOK_MM / s)) for s in image.GetSpacing()]


def averaged(image: sitk.Image) -> np.ndarray:
    """An image on voxels of about `LOOK_MM` (float32, z, y, x), each the mean of those it covers."""
    return sitk.GetArrayFromImage(sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), look_factors(image)))


def front_mediastinum(image: sitk.Image, lungs: sitk.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What lies between the lungs, away from the spine, on voxels of about `LOOK_MM`; both images in LPS.

    Returns HU (float32), lung (bool) and what is no lung but has lung to its right and left in the front
    `FRONT_SHARE` of the lungs' depth (bool), each (z, y, x).
    """
    hu, lung = averaged(image), averaged(lungs) > 0.5
    between = between_lungs(lung) & ~lung
    rows = np.flatnonzero(lung.any(axis=(0, 2)))
    between[:, : rows[0]] = between[:, int(rows[0] + FRONT_SHARE * (rows[-1] - rows[0])) + 1 :] = False
    return hu, lung, between
