"""First guess of a registration: the best of a few shifts, so that differing fields of view do no harm."""

import numpy as np
import SimpleITK as sitk

from cpmn.register.prepare import Side, lung_centre, lung_corners

COARSE = 4  # our choice: candidates are compared on every 4th working voxel per axis
MINIMUM_OVERLAP = 0.25  # our choice: a candidate must bring this share of the fixed box into the moving one


def start_transform(fixed: Side, moving: Side) -> sitk.AffineTransform:
    """Fixed to moving points: the candidate shift with the highest correlation of the working images.

    Candidates (our choice): the lungs' centres on each other; the same with the lung tops, or the lung bases, level
    (where one scan cuts the lungs off); no shift (scans of one session share a frame of reference).
    """
    shifts = candidate_shifts(fixed.lungs, moving.lungs)
    scores = [_correlation(fixed, moving, shift) for shift in shifts]
    return _translation(lung_centre(fixed.lungs), shifts[int(np.argmax(scores))])


def candidate_shifts(fixed_lungs: sitk.Image, moving_lungs: sitk.Image) -> list[np.ndarray]:
    """Shifts (x, y, z) in mm from fixed to moving points, the most likely first."""
    centre = lung_centre(moving_lungs) - lung_centre(fixed_lungs)
    fixed_z, moving_z = lung_corners(fixed_lungs)[:, 2], lung_corners(moving_lungs)[:, 2]
    heights = [moving_z.max() - fixed_z.max(), moving_z.min() - fixed_z.min()]
    return [centre, *(np.array([centre[0], centre[1], height]) for height in heights), np.zeros(3)]


def _correlation(fixed: Side, moving: Side, shift: np.ndarray) -> float:
    grid = sitk.BinShrink(fixed.working, [COARSE] * 3)
    shifted = _translation(np.zeros(3), shift)
    other = sitk.Resample(sitk.BinShrink(moving.working, [COARSE] * 3), grid, shifted, sitk.sitkLinear, 0.0)
    seen = sitk.Resample(moving.seen, grid, shifted, sitk.sitkNearestNeighbor, 0)
    seen = sitk.GetArrayFromImage(seen) * sitk.GetArrayFromImage(sitk.Resample(fixed.seen, grid))
    return correlation(sitk.GetArrayFromImage(grid), sitk.GetArrayFromImage(other), seen > 0)


def correlation(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> float:
    """Pearson correlation over `inside`; -1 where it covers too little or one image is flat there."""
    if inside.mean() < MINIMUM_OVERLAP or first[inside].std() == 0 or second[inside].std() == 0:
        return -1.0
    return float(np.corrcoef(first[inside], second[inside])[0, 1])


def _translation(centre: np.ndarray, shift: np.ndarray) -> sitk.AffineTransform:
    transform = sitk.AffineTransform(3)
    transform.SetCenter(centre.tolist())
    transform.SetTranslation(shift.tolist())
    return transform
