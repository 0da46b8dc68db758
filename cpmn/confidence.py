"""How far a label carried to a voxel can be trusted: an optional weight map for training."""

import numpy as np
import SimpleITK as sitk

from cpmn.volume.images import AIR_HU, image_like

WINDOW_HU = (-1000.0, 100.0)  # as `register` clips in and between the lungs: contrast medium does not show
NEIGHBOURHOOD_MM = 5.0  # our choice: standard deviation of the window of the local correlation, a vessel and its bed
VESSEL_HU = -500.0  # our choice: denser than lung; half of a vessel's voxel suffices
STRUCTURE_HU = 100.0  # our choice: between fat beside soft tissue (SD 50 and less) and a vessel in lung (300)
REACH_MM = 3.0  # our choice: an embolus lies in a vessel; at this distance from any, the weight has fallen to 0.6


def confidence_map(nct: sitk.Image, ctpa: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """Weight (float32, 0-1) of every voxel of `nct`: local agreement of the two scans times nearness of a vessel.

    Agreement is the local correlation r of the clipped scans (negative counts as 0), as far as the NCT has structure
    there: 1 - s (1 - r) with s = v / (v + STRUCTURE_HU^2) of its local variance v. Inside a large vessel there is only
    noise to agree on, however well the scans fit. Nearness is exp(-d^2 / (2 REACH_MM^2)) of the distance d to the
    nearest dense voxel of the NCT. 0 where the CTPA does not reach.

    Parameters
    ----------
    nct, ctpa : scans in HU.
    transform : NCT points to CTPA points.
    """
    fixed = sitk.Clamp(nct, sitk.sitkFloat32, *WINDOW_HU)
    moving = sitk.Resample(sitk.Cast(ctpa, sitk.sitkFloat32), nct, transform, sitk.sitkLinear, AIR_HU)
    seen = sitk.GetArrayViewFromImage(moving) > AIR_HU
    weight = _agreement(fixed, sitk.Clamp(moving, sitk.sitkFloat32, *WINDOW_HU)) * seen
    distance = sitk.SignedMaurerDistanceMap(nct > VESSEL_HU, squaredDistance=False, useImageSpacing=True)
    away = np.maximum(sitk.GetArrayFromImage(distance), 0)
    return image_like((weight * np.exp(-(away**2) / (2 * REACH_MM**2))).astype(np.float32), nct)


def _agreement(first: sitk.Image, second: sitk.Image) -> np.ndarray:
    def mean(image: sitk.Image) -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, [NEIGHBOURHOOD_MM] * 3)).astype(float)

    one, two = mean(first), mean(second)
    variance = np.maximum(mean(first * first) - one**2, 0)
    spread = variance * (mean(second * second) - two**2)
    correlation = np.clip((mean(first * second) - one * two) / np.sqrt(np.maximum(spread, 1.0)), 0, 1)
    return 1 - (1 - correlation) * variance / (variance + STRUCTURE_HU**2)
