"""Slices of volumes as small data URIs, and outlines of masks as SVG paths."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread, imsave
from scipy import ndimage

from cpmn.errors import CpmnError
from cpmn.volume.overlay import glow, grey, outline

MAXIMUM_PIXELS = 512  # longest side of an embedded picture; our choice, keeps a slice near 20 kB


def grey_picture(slice_hu: np.ndarray, window: tuple[float, float]) -> str:
    """Data URI of a slice (y, x) in HU, shown from the lower (black) to the upper end (white) of the window."""
    return _webp(np.repeat(_shrink(grey(slice_hu, window))[..., None], 3, axis=2), quality=80)


def cam_picture(slice_cam: np.ndarray) -> str:
    """Data URI of a class-activation map (y, x; 0-1) as a translucent colour layer; transparent where it is 0."""
    return _webp(glow(_shrink(np.nan_to_num(slice_cam.astype(np.float32)), MAXIMUM_PIXELS // 4)), quality=60)


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


def outline_path(mask: np.ndarray) -> str:
    """SVG path along the voxel edges of a mask (y, x), in voxel units from the outer corner of the first voxel."""
    return "".join(f"M{x} {y}" + (f"h{dx}" if dx else f"v{dy}") for x, y, dx, dy in outline(mask))


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a 2D mask (8-neighbourhood)."""
    labelled: Any = ndimage.label(mask, structure=np.ones((3, 3)))
    parts, count = labelled
    if count <= 1:
        return mask
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


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
