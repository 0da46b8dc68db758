"""Lungs in chest CT by thresholds, connectivity and shape: no training, either phase, a second or two.

The steps are the classical ones (Hu, Hoffman, Reinhardt, IEEE TMI 2001;20:490-498): air by a threshold, the air
around the body removed, trachea and main bronchi removed by region growing that stops before it leaks into the
lung (Mori et al., IEEE TMI 2000;19:1177-1184), vessels closed over, each lung by itself. Sizes and limits are our
choice, made on real chests of 4 to 8 mm slices; each constant says why.
"""

from collections.abc import Callable

import cc3d
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.errors import CpmnError
from cpmn.volume.images import image_like
from cpmn.volume.voxels import between

MINIMUM_ML = 300.0
"""Smallest total. A child of two has 400 mL, adults 2-6 L; sinuses and mastoids of a head 70, bowel gas less."""
PART_SHARE = 0.05  # smallest part, as a share of the largest, that still is a lung (a collapsed one), not bowel gas
GAS_HU = -950.0  # median of a part, which its rim does not move: gas (stomach, bowel) is below, lung -910 to -500
SURELY_LUNG_ML = 1000.0  # a part this large is never gas of the bowel, however dark: severe emphysema, pneumothorax
RIM_MM = 3.0  # partial volume at the surface of air
OUTSIDE_HU = -930.0  # locally averaged: air around the body is below, lung cut by the side of the image is above
COARSE_MM = 5.0  # in-plane spacing up to which the body is sampled coarsely: its outline needs no more
TABLE_SHELL_MM = 5.0  # thinner than any chest wall, thicker than the shell of a table
CUT_LUNG_ML = 100.0  # smallest lung part that is taken back from the air at the sides
AIRWAY_LIMITS_HU = (-870.0, -890.0, -910.0, -930.0, -950.0, -970.0)  # tried from generous to safe
AIRWAY_ML = 110.0  # a grown airway above has leaked: trachea and main bronchi hold 30-80 mL
TRACHEA_AREA_MM2 = (60.0, 800.0)  # adult trachea 13-27 mm wide, with slack for partial volume
TRACHEA_OFFSET_MM = 45.0  # sideways from the middle of the body
TRACHEA_LENGTH_MM = 25.0  # followed over at least this length
CLOSING_MM = 8.0  # closes over vessels up to lobar size

IN_PLANE = np.zeros((3, 3, 3), bool)
IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


def segment_lungs(
    image: sitk.Image,
    *,
    threshold_hu: float = -400.0,
    spacing_mm: float = 2.0,
    minimum_ml: float = MINIMUM_ML,
) -> sitk.Image:
    """Segment both lungs without trachea and main bronchi, with the vessels inside them.

    Parameters
    ----------
    image : chest CT in HU, ordered left-posterior-superior (LPS) as `convert` writes it.
    threshold_hu : below is air or lung.
    spacing_mm : voxels are averaged in whole blocks to about this spacing first; thicker slices are left alone.
    minimum_ml : smallest accepted total lung volume.

    Returns
    -------
    uint8 image on the grid of `image`; 1 = lung.

    Raises CpmnError if there are no lungs of that volume. Dense consolidation is left out, as by any threshold.
    """
    factors = [max(1, round(spacing_mm / s)) for s in image.GetSpacing()]
    factors = [min(factor, size) for factor, size in zip(factors, image.GetSize(), strict=True)]
    work = sitk.BinShrink(image, factors) if max(factors) > 1 else image
    lungs = _lungs(sitk.GetArrayFromImage(work).astype(np.float32), work.GetSpacing(), threshold_hu)
    volume = lungs.sum() * _voxel_ml(work.GetSpacing())
    if volume < minimum_ml:
        raise no_lungs(volume, minimum_ml)
    return image_like(_enlarge(lungs, factors, image.GetSize()), image)


def no_lungs(volume: float, minimum_ml: float) -> CpmnError:
    """The error of a scan with less lung than expected, both in mL."""
    return CpmnError(
        f"no lungs found: {volume:.0f} mL of lung, at least {minimum_ml:.0f} mL are expected. "
        "Give a chest CT in HU that covers the lungs: this is none, or shows too little of them. For an infant, lower "
        "crop.minimum_lung_ml."
    )


def lung_parts_ml(lungs: sitk.Image) -> list[float]:
    """Volumes in mL of the connected parts of a lung mask, largest first; crumbs below 1 mL are left out."""
    labels = cc3d.connected_components(sitk.GetArrayFromImage(lungs), connectivity=26)
    volumes = np.bincount(labels.ravel())[1:] * _voxel_ml(lungs.GetSpacing())
    return [float(volume) for volume in np.sort(volumes)[::-1] if volume >= 1.0]


def between_lungs(lungs: np.ndarray) -> np.ndarray:
    """Whether a voxel (z, y, x) is lung or has lung to its right and to its left, boolean."""
    return between(lungs, axis=2)


def _lungs(hu: np.ndarray, spacing: tuple[float, ...], threshold_hu: float) -> np.ndarray:
    air = hu < threshold_hu
    enclosed = _enclosed(~air, spacing)
    inside = air & ~_outside(hu, air, enclosed, spacing)
    airways = _airways(hu, inside, spacing)
    labels = cc3d.connected_components(inside & ~airways, connectivity=6)
    lungs = np.zeros_like(air)
    for label in _lung_labels(hu, labels, enclosed, spacing):
        _add_closed(lungs, labels == label, spacing)
    return lungs & ~airways


def _enclosed(tissue: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Voxels with the body in front of and behind them, as most lung has and the foam of a table has not.

    The body is the largest part of `tissue` after opening, which cuts off the shell of the table and tubes.
    """
    step = 2 if max(spacing[:2]) < COARSE_MM / 2 else 1
    coarse = (spacing[0] * step, spacing[1] * step, spacing[2])
    opened = _dilated(_eroded(tissue[:, ::step, ::step], TABLE_SHELL_MM, coarse), TABLE_SHELL_MM, coarse)
    body = cc3d.largest_k(opened, k=1, connectivity=6).astype(bool)
    return between(body, axis=1).repeat(step, axis=1).repeat(step, axis=2)[:, : tissue.shape[1], : tissue.shape[2]]


def _outside(hu: np.ndarray, air: np.ndarray, enclosed: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Air around the body: connected to a side of the image, not to its first or last slice, where lungs are cut.

    Lung that touches a side, because the field of view was cropped, is given back: where the chest wall still parts
    it from the air outside, as a whole if it is a lung (see `_is_lung`); else as far as it is denser than air.
    """
    labels = cc3d.connected_components(air, connectivity=6)
    sides = [labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]]
    touching = np.unique(np.concatenate([side.ravel() for side in sides]))
    smallest = CUT_LUNG_ML / _voxel_ml(spacing)
    counts = np.bincount(labels.ravel())
    around = np.zeros(counts.size, bool)
    for label in touching[touching > 0]:
        around[label] = counts[label] < smallest or not _is_lung(labels == label, hu, enclosed)
    outside = around[labels]
    dense = outside & enclosed & (ndimage.uniform_filter(hu, 3) > OUTSIDE_HU)
    if dense.sum() < smallest:
        return outside
    parts = cc3d.dust(_eroded(dense, RIM_MM, spacing), threshold=smallest, connectivity=6)
    return outside & ~_connected(dense, parts) if parts.any() else outside


def _is_lung(part: np.ndarray, hu: np.ndarray, enclosed: np.ndarray) -> bool:
    """Whether a part lies in the body and is not as thin as gas."""
    return bool(enclosed[part].mean() > 0.5 and np.median(hu[part]) > GAS_HU)


def _airways(hu: np.ndarray, inside: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Trachea and main bronchi with the partial volume of their walls; empty if no trachea is found."""
    seed = _trachea(inside, spacing)
    if not seed.any():
        return seed
    grown = seed
    for limit in AIRWAY_LIMITS_HU:
        candidate = _connected(seed | (inside & (hu < limit)), seed)
        if candidate.sum() * _voxel_ml(spacing) <= AIRWAY_ML:
            grown = candidate
            break
    return _dilated(grown, RIM_MM, spacing) & inside


def _trachea(inside: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The longest stack of air discs of the trachea's size and shape near the middle of the body."""
    labels = np.zeros(inside.shape, np.int32)
    ndimage.label(inside, IN_PLANE, output=labels)
    count = int(labels.max())
    area = np.bincount(labels.ravel(), minlength=count + 1) * spacing[0] * spacing[1]
    middle = _middle(inside)
    suited = np.zeros(count + 1, bool)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        suited[label] = _is_trachea_disc(area[label], box, middle, spacing)
    stacks = cc3d.connected_components(suited[labels], connectivity=26)
    lengths = [(box[0].stop - box[0].start) * spacing[2] for box in ndimage.find_objects(stacks)]
    if not lengths or max(lengths) < TRACHEA_LENGTH_MM:
        return np.zeros_like(inside)
    return stacks == int(np.argmax(lengths)) + 1


def _is_trachea_disc(area: float, box: tuple[slice, ...], middle: float, spacing: tuple[float, ...]) -> bool:
    width, height = ((box[axis].stop - box[axis].start) * s for axis, s in ((2, spacing[0]), (1, spacing[1])))
    offset = abs((box[2].start + box[2].stop - 1) / 2 - middle) * spacing[0]
    return (
        TRACHEA_AREA_MM2[0] <= area <= TRACHEA_AREA_MM2[1]
        and offset <= TRACHEA_OFFSET_MM
        and max(width, height) <= 2.5 * min(width, height)
        and area >= 0.5 * width * height
    )


def _middle(inside: np.ndarray) -> float:
    """Middle, along x in voxels, of the air inside the body: the lungs lie to both sides of it."""
    columns = np.flatnonzero(inside.any(axis=(0, 1)))
    return float(columns.mean()) if columns.size else 0.0


def _lung_labels(hu: np.ndarray, labels: np.ndarray, enclosed: np.ndarray, spacing: tuple[float, ...]) -> list[int]:
    """Labels of the parts that are lung: not small against the largest, in the body, and not as thin as gas."""
    volumes = np.bincount(labels.ravel()) * _voxel_ml(spacing)
    volumes[0] = 0.0
    kept: list[int] = []
    for label in np.argsort(-volumes, kind="stable")[:8]:
        if volumes[label] <= PART_SHARE * (volumes[kept[0]] if kept else 0.0):
            break
        part = labels == label
        if _is_lung(part, hu, enclosed) or (volumes[label] >= SURELY_LUNG_ML and enclosed[part].mean() > 0.5):
            kept.append(int(label))
    return kept


def _add_closed(lungs: np.ndarray, part: np.ndarray, spacing: tuple[float, ...]) -> None:
    """Add one lung to `lungs`, with its vessels: closed by a ball, then holes filled."""
    radius = [round(CLOSING_MM / s) for s in spacing]
    margin = [r + 1 for r in radius[::-1]]
    box = ndimage.find_objects(part.astype(np.uint8))[0]
    box = tuple(slice(max(0, b.start - m), b.stop + m) for b, m in zip(box, margin, strict=True))
    mask = sitk.GetImageFromArray(np.pad(part[box].astype(np.uint8), [(m, m) for m in margin], mode="edge"))
    mask = sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(mask, radius, sitk.sitkBall))
    inner = tuple(slice(m, -m) for m in margin)
    lungs[box] |= sitk.GetArrayViewFromImage(mask)[inner].astype(bool)


def _connected(mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """The parts of `mask` that hold a voxel of `seed`."""
    labels = cc3d.connected_components(mask, connectivity=6)
    wanted = np.zeros(int(labels.max()) + 1, bool)
    wanted[np.unique(labels[seed & mask])] = True
    wanted[0] = False
    return wanted[labels]


def _eroded(mask: np.ndarray, mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    """Erosion by a ball of radius `mm`; the edge of the image does not erode."""
    return _morphed(sitk.BinaryErode, mask, mm, spacing)


def _dilated(mask: np.ndarray, mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    """Dilation by a ball of radius `mm`."""
    return _morphed(sitk.BinaryDilate, mask, mm, spacing)


def _morphed(operation: Callable, mask: np.ndarray, mm: float, spacing: tuple[float, ...]) -> np.ndarray:
    """Erosion or dilation inside the bounding box of `mask`, by at least one voxel in the axial plane."""
    radius = [max(1, round(mm / s)) for s in spacing[:2]] + [round(mm / spacing[2])]
    result = np.zeros_like(mask)
    if mask.any():
        tight = ndimage.find_objects(mask.astype(np.uint8))[0]
        box = tuple(slice(max(0, b.start - r - 1), b.stop + r + 1) for b, r in zip(tight, radius[::-1], strict=True))
        image = operation(sitk.GetImageFromArray(mask[box].astype(np.uint8)), radius, sitk.sitkBall)
        result[box] = sitk.GetArrayViewFromImage(image)
    return result


def _enlarge(mask: np.ndarray, factors: list[int], size: tuple[int, ...]) -> np.ndarray:
    """Repeat the voxels of a block-averaged mask (z, y, x) onto the native grid of `size` (x, y, z).

    Native voxels of an incomplete last block, which averaging leaves out, take the value of the block before.
    """
    x, y, z = (np.minimum(np.arange(n) // f, m - 1) for n, f, m in zip(size, factors, mask.shape[::-1], strict=True))
    return mask.astype(np.uint8)[:, :, x][:, y][z]  # z last: whole slices are copied, which is fast


def _voxel_ml(spacing: tuple[float, ...]) -> float:
    return float(np.prod(spacing)) / 1000.0
