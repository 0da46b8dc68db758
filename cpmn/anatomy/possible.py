"""Where an embolus can be, by the NCT alone: inside the chest's cavity, and neither in bone nor in fat.

All limits are our choice, wide of what emboli need. What they cost on phantoms, with dense lung and without, measures
`python -m benchmarks limits` (docs/explanation.md).
"""

import cc3d
import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from cpmn.anatomy.lungbox import body_middle

BONE_HU, BONE_SIGMA_MM = 150.0, 1.0  # clotted blood stays below 100 HU; smoothed, so that noise is no bone
BONE_ML = 1.0  # a smaller part may be calcium in a vessel or a node: it alone is left out, and nothing round it
MARROW_MM2 = 2000.0  # largest hole of a slice of bone that is filled: a vertebra has 1200 mm2, a chest 40,000
FAT_HU, FAT_SIGMA_MM = -30.0, 1.5
NEAR_LUNG_MM = 6.0  # so near to lung, low HU are partial volume of a vessel and air, and no fat
NEIGHBOURS_MM = 30.0  # slices so near lend each other their lungs: a dense base is still under the lung above it
MARGIN_MM = 4.0
COARSE_MM = 4.0  # the cavity is smooth, and a hull costs time


def possible(nct: sitk.Image, lungs: sitk.Image) -> np.ndarray:
    """Voxels (z, y, x; bool) where an embolus can be: in the cavity, not in bone, not in fat.

    `nct` is in HU and `lungs` their mask, both on one grid with axes along the body's (LPS order in any direction).
    """
    hu = sitk.GetArrayFromImage(nct).astype(np.float32)
    lung, spacing = sitk.GetArrayViewFromImage(lungs) > 0, nct.GetSpacing()
    return cavity(hu, lung, spacing) & ~bone(hu, spacing) & ~fat(hu, lung, spacing)


def cavity(hu: np.ndarray, lung: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Convex hull, slice by slice, of the lungs there and in neighbouring slices, and of their mirror image.

    Lungs and mediastinum are inside. Where lung is dense (effusion, consolidation, collapse) and so not in the mask,
    the other lung's mirror image and the slices above and below take its place. Arrays are (z, y, x), spacing is
    (x, y, z) in mm.
    """
    if not lung.any():
        return np.ones_like(lung)
    step = [max(1, round(COARSE_MM / s)) for s in spacing[:2]]
    coarse = _blocks(lung, step)
    heights = np.flatnonzero(lung.any(axis=(1, 2)))
    middle = (body_middle(hu[heights[0] : heights[-1] + 1], spacing) - (step[0] - 1) / 2) / step[0]
    coarse = coarse | _mirrored(coarse, middle)
    reach = 2 * round(NEIGHBOURS_MM / spacing[2]) + 1
    coarse = ndimage.maximum_filter1d(coarse.astype(np.uint8), reach, axis=0) > 0
    sizes = np.array([spacing[1] * step[1], spacing[0] * step[0]])
    hulls = np.stack([_hull(part, sizes) for part in coarse])
    return hulls.repeat(step[1], axis=1).repeat(step[0], axis=2)[:, : lung.shape[1], : lung.shape[2]]


def bone(hu: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Bone with its marrow, and anything else as dense (calcium, metal)."""
    dense = _smoothed(hu, BONE_SIGMA_MM, spacing) > BONE_HU
    large = cc3d.dust(dense, threshold=max(1, round(BONE_ML * 1000 / np.prod(spacing))), connectivity=6).astype(bool)
    most = MARROW_MM2 / (spacing[0] * spacing[1])
    return dense | np.stack([_filled(part, most) for part in large])


def fat(hu: np.ndarray, lung: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Fat of mediastinum and chest wall; what is near lung is not called so."""
    size = [2 * round(NEAR_LUNG_MM / s) + 1 for s in spacing[::-1]]
    near = ndimage.maximum_filter(lung.astype(np.uint8), size) > 0
    return (_smoothed(hu, FAT_SIGMA_MM, spacing) < FAT_HU) & ~near


def _smoothed(hu: np.ndarray, sigma_mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    return ndimage.gaussian_filter(hu, [sigma_mm / s for s in spacing[::-1]], mode="nearest")


def _blocks(mask: np.ndarray, step: list[int]) -> np.ndarray:
    """Whether any voxel of each block of `step` (x, y) voxels is in the mask, slice by slice."""
    height, width = mask.shape[1:]
    padded = np.pad(mask, [(0, 0), (0, -height % step[1]), (0, -width % step[0])])
    rows, columns = padded.shape[1] // step[1], padded.shape[2] // step[0]
    return np.asarray(padded.reshape(len(mask), rows, step[1], columns, step[0]).any(axis=(2, 4)))


def _mirrored(mask: np.ndarray, middle: float) -> np.ndarray:
    """The mask's mirror image at column `middle`, as far as it is inside the image."""
    columns = np.round(2 * middle - np.arange(mask.shape[2])).astype(int)
    inside = (columns >= 0) & (columns < mask.shape[2])
    result = np.zeros_like(mask)
    result[..., inside] = mask[..., columns[inside]]
    return result


def _hull(mask: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Convex hull of a slice (y, x) with voxels of `sizes` mm, wider by `MARGIN_MM`."""
    points = np.argwhere(mask) * sizes
    try:
        planes = ConvexHull(points).equations  # unit normals: distances in mm
    except (QhullError, ValueError):  # less than a triangle
        return mask
    inside = np.moveaxis(np.indices(mask.shape), 0, -1) * sizes @ planes[:, :2].T + planes[:, 2] <= MARGIN_MM
    return np.asarray(inside.all(axis=-1))


def _filled(part: np.ndarray, most: float) -> np.ndarray:
    """A slice of bone with its holes of up to `most` voxels."""
    if not part.any():
        return part
    holes = cc3d.connected_components(~part, connectivity=4)
    counts = np.bincount(holes.ravel())
    small = counts <= most
    small[0] = False
    edge = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    small[edge] = False
    return part | small[holes]
