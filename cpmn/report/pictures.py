"""Slices of volumes as small data URIs, and outlines of masks as SVG paths."""

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk
from matplotlib.image import imread, imsave
from scipy import ndimage

from cpmn.errors import CpmnError
from cpmn.volume.images import read_image

MAXIMUM_PIXELS = 512  # longest side of an embedded picture; our choice, keeps a slice near 20 kB
CAM_OPACITY = 0.65


def read_upright(path: Path) -> sitk.Image | None:
    """Volume with axes turned to x = left, y = posterior, z = up (LPS); None where the file is absent or empty."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    return sitk.DICOMOrient(read_image(path), "LPS")


def grey_picture(slice_hu: np.ndarray, *, center: float, width: float) -> str:
    """Data URI of a slice (y, x) in HU, shown from center - width / 2 (black) to center + width / 2 (white)."""
    level = np.clip((slice_hu.astype(np.float32) - center) / width + 0.5, 0, 1)
    return _webp(np.repeat(_shrink(level)[..., None], 3, axis=2), quality=80)


def cam_picture(slice_cam: np.ndarray) -> str:
    """Data URI of a class-activation map (y, x; 0-1) as a translucent colour layer; transparent where it is 0.

    The scale is fixed, not stretched to the image, so that two patients can be compared.
    """
    level = np.clip(_shrink(np.nan_to_num(slice_cam.astype(np.float32)), MAXIMUM_PIXELS // 4), 0, 1)
    layer = mpl.colormaps["inferno"](level)
    layer[..., 3] = np.clip(level * 1.5, 0, 1) * CAM_OPACITY
    return _webp(layer, quality=60)


def file_picture(path: Path) -> str | None:
    """Data URI of a picture file, shrunk and recompressed; None where it is absent or empty."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    try:
        pixels = np.asarray(imread(path, format=path.suffix[1:]), dtype=np.float32)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged picture
        raise CpmnError(f"{path} is not a readable picture: {error}. Delete it and run the same command.") from error
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    return _webp(_shrink(pixels, 2 * MAXIMUM_PIXELS), quality=75)


def outline(mask: np.ndarray) -> str:
    """SVG path along the voxel edges of a mask (y, x), in voxel units from the outer corner of the first voxel.

    Edges, not smoothed contours: the reader sees exactly the voxels that were scored.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    across = _runs(np.diff(padded, axis=0)[:, 1:-1] != 0)  # horizontal edges: (row, first, length)
    along = _runs((np.diff(padded, axis=1)[1:-1] != 0).T)
    return "".join([f"M{x} {y}h{length}" for y, x, length in across] + [f"M{x} {y}v{length}" for x, y, length in along])


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a 2D mask (8-neighbourhood)."""
    labelled: Any = ndimage.label(mask, structure=np.ones((3, 3)))
    parts, count = labelled
    if count <= 1:
        return mask
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


def _runs(edges: np.ndarray) -> list[tuple[int, int, int]]:
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return [(int(r), int(s), int(e - s)) for r, s, e in zip(rows, starts, ends, strict=True)]


def _shrink(pixels: np.ndarray, longest: int = MAXIMUM_PIXELS) -> np.ndarray:
    factor = longest / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    zoom = (factor, factor, *([1] * (pixels.ndim - 2)))
    blur = (0.4 / factor, 0.4 / factor, *([0] * (pixels.ndim - 2)))  # against aliasing
    return ndimage.zoom(ndimage.gaussian_filter(pixels, blur), zoom, order=1, grid_mode=True, mode="nearest")


def _webp(pixels: np.ndarray, quality: int) -> str:
    stream = io.BytesIO()
    imsave(stream, np.clip(pixels, 0, 1), format="webp", pil_kwargs={"quality": quality, "method": 4})
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
