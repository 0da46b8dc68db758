"""Vessels of a real non-contrast chest: those inside the lungs, and where the central arteries must be.

All thresholds and sizes are our choice, made on two real chests of 5 and 8 mm slices by looking at the result.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.errors import CpmnError
from cpmn.phantom.shapes import bezier, tube
from cpmn.volume.images import voxel_ml

ISOTROPIC_MM = 2.5  # Hessians are taken at this resolution
SCALES_MM = (2.0, 3.5)  # sigma; vessels of about 2 to 6 mm radius
CONTRAST_HU = (-950.0, 50.0)  # clipped to, so that calcium and gas do not count
STRUCTURE_HU = 20.0  # second derivative (HU / mm^2) at which a structure counts half: noise is below, vessels above
VESSELNESS = 0.12  # Frangi's measure (0-1) above which a voxel is tubular
VESSEL_HU = -650.0  # at least, by partial volume; lung is at -850 or so
PLEURA_MM = 3.0  # vessels this near the lung's surface are left out: pleura and chest wall look alike there
SMALLEST_ML = 0.05  # smaller parts are noise or nodules
BRONCHUS_HU = -60.0  # a bronchus's lumen is darker than the lung around by this much
BESIDE_MM = 6.0  # a vessel this near a bronchus runs beside it
ARTERIAL_SHARE = 0.5  # of the vessels' volume; arteries and veins hold about the same
TUBES = {  # middle of central arteries relative to the carina in mm (x, y, z), and radius; after the built-in phantom
    "trunk": ((17, -66, -50), (17, -58, -28), (6, -38, -18), 13.0),
    "right": ((6, -38, -18), (-14, -26, -24), (-44, -14, -30), 10.0),
    "left": ((6, -38, -18), (22, -26, -10), (42, -8, -14), 10.0),
}
AIRWAY_REACH_MM = 45.0  # sideways from the middle of the lungs, within which trachea and carina lie
AIR_HU = -850.0
LUMEN_MM2 = (40.0, 700.0)  # trachea and main bronchi
FOLLOWED_MM = 30.0  # from one slice to the next the airway moves less
BRANCH_MM = (4.0, 20.0)  # main bronchi lie at least this far beside the trachea, at most this far before or behind
POOL_MM = ((-110.0, 25.0), (-120.0, 25.0), (-60.0, 110.0))  # (z, y, x) of heart and great vessels round the carina
POOL_RADIUS_MM = 8.0
POOL_BELOW_HU = 120.0  # bone is above
SEED_MM = 2.0  # middles of vessels, this far from the wall, are cut apart from each other
SOFT_TISSUE_HU = 0.0  # central arteries are where the tubes hold soft tissue, not fat or air


@dataclass(frozen=True)
class Vessels:
    """Share of each voxel (z, y, x) that is artery, or vein; `central` (bool) are the arteries outside the
    lungs and `pool` (bool) heart and other great vessels; `blood_hu` is the unenhanced blood."""

    artery: np.ndarray
    vein: np.ndarray
    central: np.ndarray
    pool: np.ndarray
    blood_hu: float


def find_vessels(chest: sitk.Image, lungs: sitk.Image) -> Vessels:
    """Vessels of a chest in HU (LPS) with its lung mask on the same grid. Raises CpmnError without a trachea."""
    hu, inside = sitk.GetArrayFromImage(chest).astype(np.float32), sitk.GetArrayFromImage(lungs) > 0
    tubular = tubularity(chest, inside, bright=True)
    deep = _deep(inside, chest.GetSpacing())
    mask = cc3d.dust((tubular > VESSELNESS) & (hu > VESSEL_HU) & deep, _voxels(SMALLEST_ML, chest), connectivity=26) > 0
    carina = find_carina(hu, inside, chest.GetSpacing())
    central = central_arteries(hu, inside, carina, chest.GetSpacing())
    if not mask.any() or not central.any():
        raise CpmnError(
            "no vessels were found in this chest. Give a CT of the whole chest with slices of 8 mm or less."
        )
    pool = blood_pool(hu, inside, carina, chest.GetSpacing())
    blood = float(np.median(hu[pool])) if pool.any() else float(np.median(hu[central]))
    arteries = arterial_parts(mask, _beside_bronchi(chest, hu, inside, deep), chest.GetSpacing())
    share = _share(hu, inside, blood)
    in_lung = np.asarray(ndimage.binary_dilation(mask, np.ones((1, 3, 3), bool)), bool) & inside
    nearest = ndimage.distance_transform_edt(
        ~mask, sampling=chest.GetSpacing()[::-1], return_distances=False, return_indices=True
    )
    arterial = arteries[tuple(nearest)]  # type: ignore[arg-type]
    artery = np.where(in_lung & arterial, share, 0)
    artery[central] = 1
    return Vessels(artery, np.where(in_lung & ~arterial, share, 0), central, pool & ~central, blood)


def tubularity(chest: sitk.Image, lungs: np.ndarray, bright: bool) -> np.ndarray:
    """Frangi's vesselness (0-1), largest over SCALES_MM, on the chest's grid (z, y, x); dark tubes if not `bright`.

    Outside the bounding box of the lungs it is zero.
    """
    fine = sitk.Clamp(_isotropic(chest, lungs), sitk.sitkFloat32, *CONTRAST_HU)
    found = sitk.Image(fine.GetSize(), sitk.sitkFloat32)
    found.CopyInformation(fine)
    for sigma in SCALES_MM if bright else SCALES_MM[:1]:
        smooth = sitk.SmoothingRecursiveGaussian(fine, [sigma] * 3)
        one = sitk.ObjectnessMeasure(
            smooth,
            alpha=0.5,
            beta=0.5,
            gamma=STRUCTURE_HU,
            scaleObjectnessMeasure=False,
            objectDimension=1,
            brightObject=bright,
        )
        found = sitk.Maximum(found, one)
    return sitk.GetArrayFromImage(sitk.Resample(found, chest, sitk.Transform(), sitk.sitkLinear, 0.0))


def find_carina(hu: np.ndarray, lungs: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Where the trachea divides, in voxels (z, y, x): the lowest slice with one lumen above the first with two.

    Raises CpmnError where there is no trachea.
    """
    _, y, x = (np.flatnonzero(lungs.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    middle, reach = (x[0] + x[-1]) / 2, AIRWAY_REACH_MM / spacing[0]
    window = (slice(y[0], y[-1] + 1), slice(int(middle - reach), int(middle + reach) + 1))
    above: np.ndarray | None = None
    for z in range(len(hu) - 1, -1, -1):
        lumens = _lumens((hu[z] < AIR_HU)[window] & ~lungs[z][window], spacing)
        lumens = [lumen + np.array([window[0].start, window[1].start]) for lumen in lumens]
        if above is not None:
            lumens = [lumen for lumen in lumens if _distance_mm(lumen, above[1:], spacing) < FOLLOWED_MM]
            if _divided(lumens, above, spacing):
                return above
        if len(lumens) == 1:
            above = np.array([z, *lumens[0]])
    raise CpmnError("no trachea that divides was found. Give a chest CT that shows the airways down to the carina.")


def blood_pool(hu: np.ndarray, lungs: np.ndarray, carina: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Heart and great vessels (z, y, x) bool, roughly: thick soft tissue in POOL_MM of the carina."""
    limits = ndimage.find_objects(lungs.astype(np.uint8))[0]
    box = tuple(
        slice(max(side.start, int(c + low / step)), min(side.stop, max(0, int(c + high / step))))
        for side, c, (low, high), step in zip(limits, carina, POOL_MM, spacing[::-1], strict=True)
    )
    smooth = np.asarray(ndimage.uniform_filter(hu, (1, 5, 5)))[box]  # pyright: ignore[reportArgumentType]
    soft = (smooth > SOFT_TISSUE_HU) & (smooth < POOL_BELOW_HU) & ~lungs[box]
    pool = np.zeros(hu.shape, bool)
    pool[box] = np.stack([_thick(one, spacing) for one in soft])
    return pool


def _thick(soft: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Parts (y, x) of one slice's soft tissue that are thick and do not reach its side (the liver does)."""
    core = _distance(soft, spacing[:2]) > POOL_RADIUS_MM
    opened = soft & (_distance(~core, spacing[:2]) <= POOL_RADIUS_MM) if core.any() else np.zeros_like(soft)
    labels = cc3d.connected_components(opened, connectivity=4)
    sides = np.unique(np.concatenate([labels[:, 0], labels[:, -1]]))
    return opened & ~np.isin(labels, sides)


def _distance(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance in mm of each voxel of the mask (last axis x) to what is outside; spacing (x, y[, z])."""
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing[::-1]), np.float32)


def central_arteries(hu: np.ndarray, lungs: np.ndarray, carina: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Trunk and main pulmonary arteries (z, y, x) bool: tubes at their usual place, where they hold soft tissue.

    Without contrast they cannot be told from the tissue around them, so that their place is assumed, not seen.
    """
    smooth = np.asarray(ndimage.uniform_filter(hu, (1, 3, 3)))  # pyright: ignore[reportArgumentType]
    points = np.moveaxis(np.indices(hu.shape, np.float32), 0, -1)[..., ::-1] * np.array(spacing, np.float32)
    points -= (carina[::-1] * spacing).astype(np.float32)
    inside = np.zeros(hu.shape, bool)
    for start, control, end, radius in TUBES.values():
        for piece in tube(bezier(np.array(start, float), np.array(control, float), np.array(end, float), 5), radius):
            inside |= piece.distance(points) < 0
    return inside & (smooth > SOFT_TISSUE_HU) & ~lungs


def arterial_parts(mask: np.ndarray, beside: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Which voxels of the vessel `mask` (z, y, x) belong to arteries: arteries run beside bronchi, veins do not.

    The mask is cut into parts where vessels touch (by a watershed from their thick middles), and parts become
    arteries in the order of their share of voxels that are `beside` a bronchus, until they hold ARTERIAL_SHARE of the
    volume. Bronchi beyond the segmental ones do not show in thick slices: many small parts are told by chance.
    """
    parts = _parts(mask, spacing)
    volume = np.bincount(parts.ravel()).astype(float)
    volume[0] = 0
    near = np.bincount(parts.ravel(), weights=beside.ravel().astype(float)) / np.maximum(volume, 1)
    near[0] = -1
    order = np.argsort(-near, kind="stable")
    taken = np.cumsum(volume[order]) - volume[order] < ARTERIAL_SHARE * volume.sum()
    arterial = np.zeros(len(volume), bool)
    arterial[order[taken]] = True
    arterial[0] = False
    return arterial[parts]


def _parts(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Pieces (z, y, x) of the mask, numbered from 1: one per branch, roughly."""
    depth = _distance(mask, spacing)
    seeds = cc3d.connected_components(depth > SEED_MM, connectivity=26)
    image = sitk.GetImageFromArray(-depth)
    grown = sitk.MorphologicalWatershedFromMarkers(
        image, sitk.GetImageFromArray(seeds.astype(np.uint32)), markWatershedLine=False, fullyConnected=True
    )
    parts = np.where(mask, sitk.GetArrayFromImage(grown), 0)
    alone = cc3d.connected_components(mask & (parts == 0), connectivity=26)
    return np.where(alone > 0, alone.astype(np.int64) + parts.max(), parts)


def _beside_bronchi(chest: sitk.Image, hu: np.ndarray, lungs: np.ndarray, deep: np.ndarray) -> np.ndarray:
    """Voxels (z, y, x) near a dark tube inside the lungs."""
    size = [max(1, round(20 / s)) for s in chest.GetSpacing()[::-1]]
    around = np.asarray(ndimage.uniform_filter(hu, size))  # pyright: ignore[reportArgumentType]
    dark = (tubularity(chest, lungs, bright=False) > VESSELNESS) & deep & (hu < around + BRONCHUS_HU)
    dark = cc3d.dust(dark, _voxels(SMALLEST_ML, chest), connectivity=26) > 0
    return _distance(~dark, chest.GetSpacing()) < BESIDE_MM


def _lumens(air: np.ndarray, spacing: tuple[float, ...]) -> list[np.ndarray]:
    """Centres (y, x) of the air discs of an airway's size in one slice."""
    labels = cc3d.connected_components(air, connectivity=4)
    areas = np.bincount(labels.ravel())[1:] * spacing[0] * spacing[1]
    fitting = [label for label in range(1, len(areas) + 1) if LUMEN_MM2[0] <= areas[label - 1] <= LUMEN_MM2[1]]
    return [np.array(ndimage.center_of_mass(labels == label)) for label in fitting]


def _distance_mm(one: np.ndarray, two: np.ndarray, spacing: tuple[float, ...]) -> float:
    return float(np.linalg.norm((one - two) * spacing[1::-1]))


def _divided(lumens: list[np.ndarray], above: np.ndarray, spacing: tuple[float, ...]) -> bool:
    """Whether there is one main bronchus on each side of the trachea above, at about its depth."""
    steps = [(lumen - above[1:]) * spacing[1::-1] for lumen in lumens]
    sides = {float(np.sign(x)) for y, x in steps if abs(x) > BRANCH_MM[0] and abs(y) < BRANCH_MM[1]}
    return sides == {-1.0, 1.0}


def _deep(lungs: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The lungs without their outermost millimetres, slice by slice (thick slices would vanish otherwise)."""
    return np.stack([_distance(one, spacing[:2]) for one in lungs]) > PLEURA_MM


def _share(hu: np.ndarray, lungs: np.ndarray, blood_hu: float) -> np.ndarray:
    """Share of each voxel that is vessel, from its HU between lung and blood."""
    lung_hu = float(np.median(hu[lungs]))
    return np.clip((hu - lung_hu) / (blood_hu - lung_hu), 0, 1).astype(np.float32)


def _isotropic(image: sitk.Image, lungs: np.ndarray) -> sitk.Image:
    """The bounding box of the lungs at ISOTROPIC_MM."""
    box = ndimage.find_objects(lungs.astype(np.uint8))[0][::-1]
    first = image.TransformIndexToPhysicalPoint([int(side.start) for side in box])
    extent = [(side.stop - side.start) * step for side, step in zip(box, image.GetSpacing(), strict=True)]
    grid = sitk.Image([max(8, round(length / ISOTROPIC_MM)) for length in extent], sitk.sitkUInt8)
    grid.SetSpacing([ISOTROPIC_MM] * 3)
    grid.SetOrigin(first)
    return sitk.Resample(sitk.Cast(image, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, -1000.0)


def _voxels(ml: float, image: sitk.Image) -> int:
    return max(2, round(ml / voxel_ml(image)))
