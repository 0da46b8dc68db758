"""Cutting patches from volumes, and what varies them.

Flips, rotation and scaling belong to the place, so that the phases stay aligned; noise and offset are drawn for each
phase, since two scans never share them.

MONAI's dictionary transforms take 19 times as long a patch (4 with rotation), and 1.2 to 1.3 times a training step.
They draw other random numbers, so that no stored training would repeat (`python -m benchmarks libraries`).
"""

from typing import Any

import numpy as np
from scipy import ndimage

from cpmn.config.train.augmentation import AugmentationConfig
from cpmn.train.places import Place


def cut(array: np.ndarray | None, place: Place, size: tuple[int, ...], outside: float, order: int = 1) -> np.ndarray:
    """The patch of `size` (z, y, x) at a place, of the array's type; voxels beyond the array are `outside`.

    Without rotation or scaling these are the array's own voxels, else interpolated: linearly, or the nearest for
    `order` 0.
    """
    if array is None:
        raise ValueError(f"patient {place.subject.patient} has no such image")
    if place.matrix is not None:
        part = _interpolated(array, place, size, outside, order)
    else:
        part = _block(array, place.corner, size, outside)
    return part[tuple(slice(None, None, -1 if flip else 1) for flip in place.flips)]


def voxels_in_patch(voxels: np.ndarray, place: Place, size: tuple[int, ...]) -> np.ndarray:
    """Indices (m, 3) in the patch of `size` (z, y, x), as `cut` makes it, of those `voxels` (n, 3) that lie in it."""
    inside = voxels.astype(float) - place.corner
    if place.matrix is not None:
        centre = (np.array(size) - 1) / 2
        inside = (inside - centre) @ np.linalg.inv(place.matrix).T + centre
    indices = np.rint(np.where(place.flips, np.array(size) - 1 - inside, inside)).astype(int)
    return indices[((indices >= 0) & (indices < size)).all(axis=1)]


def _block(array: np.ndarray, corner: tuple[int, ...], size: tuple[int, ...], outside: float) -> np.ndarray:
    starts = [max(c, 0) for c in corner]
    part = array[tuple(slice(s, max(c + n, 0)) for s, c, n in zip(starts, corner, size, strict=True))]
    if part.shape != size:
        before = [s - c for s, c in zip(starts, corner, strict=True)]
        pads = [(b, n - b - m) for b, n, m in zip(before, size, part.shape, strict=True)]
        part = np.pad(part, pads, constant_values=outside)
    return part


def _interpolated(array: np.ndarray, place: Place, size: tuple[int, ...], outside: float, order: int) -> np.ndarray:
    """Only the block that the turned patch reaches is read from the memory-mapped array."""
    assert place.matrix is not None
    centre = (np.array(size) - 1) / 2
    reach = np.ceil(np.abs(place.matrix) @ centre).astype(int) + 1
    middle = np.array(place.corner) + centre
    first = np.floor(middle - reach).astype(int)
    block = _block(array, tuple(first.tolist()), tuple((2 * reach + 2).tolist()), outside)
    offset: Any = middle - first - place.matrix @ centre
    values = ndimage.affine_transform(
        block.astype(np.float32), place.matrix, offset, output_shape=size, order=order, mode="constant", cval=outside
    )
    return np.rint(values).astype(array.dtype)


def augmented(hu: np.ndarray, config: AugmentationConfig, random: np.random.Generator) -> np.ndarray:
    """HU with white noise and an offset, both drawn from `random`."""
    sd, shift = random.uniform(0, config.noise_hu), random.normal(0, config.shift_hu)
    return hu + np.float32(sd) * random.standard_normal(hu.shape, dtype=np.float32) + np.float32(shift)
