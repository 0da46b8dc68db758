"""A slice of a scan with what was found in it: which slice, its grey levels, outlines and class activation.

Volumes are (z, y, x) on one grid in LPS order, so that a slice shows the patient's right on the left.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from cpmn.volume.images import read_image

WINDOW_HU = (-135.0, 215.0)
"""Mediastinal window: centre 40 and width 350 HU."""
MARK = "#ff4d4d"
ACTIVATION = "inferno"
OPACITY = 0.65
"""Of the activation from 2/3 upwards; where it is 0 the scan shows through untouched. Our choice."""


class Edge(NamedTuple):
    """A run of voxel edges, from its first corner (voxels) over `dx` to the right or `dy` downwards."""

    x: int
    y: int
    dx: int
    dy: int


def read_upright(path: Path) -> sitk.Image | None:
    """Volume with axes turned to x = left, y = posterior, z = up (LPS); None where the file is absent or empty."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    return sitk.DICOMOrient(read_image(path), "LPS")


def telling_slice(
    depth: int,
    *,
    reference: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    cam: np.ndarray | None = None,
) -> tuple[int, str]:
    """Index of the slice worth showing, of `depth`, and why it is that one.

    That of the largest area of the reference, else of the prediction, else of the highest class activation.
    """
    for mask, why in ((reference, "largest reference area"), (prediction, "largest predicted area")):
        if mask is not None and mask.any():
            return int(np.count_nonzero(mask, axis=(1, 2)).argmax()), why
    if cam is not None and np.nanmax(cam) > 0:
        return int(np.nanmax(cam, axis=(1, 2)).argmax()), "highest class activation"
    return depth // 2, "middle of the scan"


def grey(hu: np.ndarray, window: tuple[float, float] = WINDOW_HU) -> np.ndarray:
    """Grey levels from 0 (at the window's lower end, HU, and below) to 1."""
    low, high = window
    return np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)


def glow(cam: np.ndarray) -> np.ndarray:
    """Class activation (y, x; 0-1) as a translucent layer (y, x, RGBA).

    The scale is fixed, not stretched to the image, so that two patients can be compared.
    """
    level = np.clip(np.nan_to_num(cam.astype(np.float32)), 0, 1)
    layer = mpl.colormaps[ACTIVATION](level)
    layer[..., 3] = np.clip(level * 1.5, 0, 1) * OPACITY
    return layer


def outline(mask: np.ndarray) -> list[Edge]:
    """Voxel edges between inside and outside of a mask (y, x), from the outer corner of the first voxel.

    Edges, not smoothed contours: the reader sees exactly the voxels that were scored.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    across = _runs(np.diff(padded, axis=0)[:, 1:-1] != 0)
    along = _runs((np.diff(padded, axis=1)[1:-1] != 0).T)
    return [Edge(x, y, n, 0) for y, x, n in across] + [Edge(x, y, 0, n) for x, y, n in along]


def show_slice(
    axes: Axes,
    hu: np.ndarray,
    spacing: tuple[float, float],
    marked: Mapping[str, np.ndarray | None],
    window: tuple[float, float] = WINDOW_HU,
) -> tuple[float, float, float, float]:
    """Draw a slice (y, x; HU) in the `window`, voxels of `spacing` (x, y; mm), and outline masks by colour.

    Returns the `extent` (mm) at which `imshow` lays another image over it.
    """
    x, y = spacing
    extent = (0.0, hu.shape[1] * x, hu.shape[0] * y, 0.0)
    axes.imshow(grey(hu, window), cmap="gray", vmin=0, vmax=1, extent=extent)
    axes.set(xticks=[], yticks=[])
    for colour, mask in marked.items():
        edges = [] if mask is None else outline(mask)
        lines = [[(e.x * x, e.y * y), ((e.x + e.dx) * x, (e.y + e.dy) * y)] for e in edges]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.2), autolim=False)
    return extent


def _runs(edges: np.ndarray) -> list[tuple[int, int, int]]:
    """Row, first column and length of each run."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return [(int(r), int(s), int(e - s)) for r, s, e in zip(rows, starts, ends, strict=True)]
