"""Boxes of voxels: the bounding box of a mask, cropping to it, and pasting a crop back into the native grid.

Nothing is resampled: a crop is a sub-array of native voxels and knows its place by its origin.
"""

from dataclasses import asdict, dataclass

import numpy as np
import SimpleITK as sitk

from cpmn.errors import CpmnError
from cpmn.volume.images import GRID_TOLERANCE_MM, describe_grid, image_like, same_grid


@dataclass(frozen=True)
class Box:
    """First voxel and number of voxels along (x, y, z), inside an image of `native_size` (x, y, z)."""

    start: tuple[int, int, int]
    size: tuple[int, int, int]
    native_size: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in an array (z, y, x)."""
        z, y, x = (slice(i, i + n) for i, n in zip(self.start[::-1], self.size[::-1], strict=True))
        return z, y, x

    def to_json(self) -> dict[str, list[int]]:
        """The three fields as lists."""
        return {key: list(value) for key, value in asdict(self).items()}


def bounding_box(mask: sitk.Image, margin_mm: float = 0.0) -> Box:
    """Smallest box that holds all non-zero voxels of `mask`, wider by `margin_mm` on each side, within the image.

    The margin is rounded up to whole voxels. Raises CpmnError for an empty mask.
    """
    array = sitk.GetArrayViewFromImage(mask)
    start, stop = [], []
    for axis, (n, spacing) in enumerate(zip(mask.GetSize(), mask.GetSpacing(), strict=True)):
        others = tuple(other for other in range(3) if other != 2 - axis)
        filled = np.flatnonzero(array.any(axis=others))
        if not filled.size:
            raise CpmnError("the mask is empty, so that it has no bounding box. Give a mask with voxels in it.")
        margin = int(np.ceil(margin_mm / spacing - 1e-6))
        start.append(max(0, int(filled[0]) - margin))
        stop.append(min(n, int(filled[-1]) + 1 + margin))
    sx, sy, sz = start
    nx, ny, nz = (b - a for a, b in zip(start, stop, strict=True))
    return Box((sx, sy, sz), (nx, ny, nz), mask.GetSize())


def crop_image(image: sitk.Image, box: Box) -> sitk.Image:
    """The voxels of `image` inside `box`, with their place in the world. Raises CpmnError for another image size."""
    if image.GetSize() != tuple(box.native_size):
        raise CpmnError(f"the box is for an image of {box.native_size} voxels, not {describe_grid(image)}.")
    return sitk.RegionOfInterest(image, box.size, box.start)


def box_of(crop: sitk.Image, native: sitk.Image) -> Box:
    """Where `crop` lies in the grid of `native`.

    Raises CpmnError if it is not a sub-array of that grid: other spacing or direction, between voxels, or outside.
    """
    exact = native.TransformPhysicalPointToContinuousIndex(crop.GetOrigin())
    start = tuple(round(index) for index in exact)
    within = all(i >= 0 and i + n <= m for i, n, m in zip(start, crop.GetSize(), native.GetSize(), strict=True))
    if within:
        box = Box(start, crop.GetSize(), native.GetSize())
        if same_grid(crop, sitk.RegionOfInterest(native, box.size, box.start), 10 * GRID_TOLERANCE_MM):
            return box
    raise CpmnError(
        f"the crop ({describe_grid(crop)}) is not a part of the native grid ({describe_grid(native)}). "
        "Were both made from the same scan?"
    )


def paste(crop: sitk.Image, native: sitk.Image, fill: float = 0) -> sitk.Image:
    """An image on the grid of `native`, of the pixel type of `crop`: `crop` at its place, `fill` all around.

    Inverse of `crop_image` inside the box, to the last bit. Raises CpmnError as `box_of`.
    """
    values = sitk.GetArrayViewFromImage(crop)
    array = np.full(native.GetSize()[::-1], fill, dtype=values.dtype)
    array[box_of(crop, native).slices] = values
    return image_like(array, native)
