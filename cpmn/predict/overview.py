"""One picture of a prediction."""

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from cpmn.files import written_atomically
from cpmn.volume.box import box_of

WINDOW_HU = (-135.0, 215.0)
"""Mediastinal window, centre 40 and width 350 HU."""
DPI = 110
LINE_LENGTH = 110  # characters of the title that fit the picture
OPACITY = 0.7
"""Of the activation where it is 1; where it is 0 the scan shows through untouched."""


def write_overview(
    path: Path, native: sitk.Image, crop: sitk.Image, labels: np.ndarray, cam: np.ndarray, record: dict[str, Any]
) -> None:
    """Draw the axial slice with most marked voxels: with the prediction's outline, and with the class activation.

    Without a marked voxel the slice of the highest activation is shown. Patient's right is on the left of the
    picture. `labels` and `cam` are (z, y, x) on the grid of `native` (HU, LPS); `crop` tells which part is shown.
    """
    index, why = _slice(labels, cam)
    rows, columns = box_of(crop, native).slices[1:]
    plane = sitk.GetArrayViewFromImage(native)[index, rows, columns]
    x, y, z = native.GetSpacing()
    extent = (0.0, plane.shape[1] * x, plane.shape[0] * y, 0.0)
    figure = Figure(figsize=(10, 5.4), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, title in ((left, "Marked as embolus"), (right, "Class activation")):
        axes.imshow(plane, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], extent=extent)
        axes.set(title=title, xticks=[], yticks=[])
    _outline(left, labels[index, rows, columns] != 0, extent)
    activation = cam[index, rows, columns]
    colours = ScalarMappable(Normalize(0, 1), "inferno")
    right.imshow(activation, cmap=colours.cmap, norm=colours.norm, alpha=OPACITY * activation, extent=extent)
    figure.colorbar(colours, ax=right, shrink=0.7)
    where = f"slice {index + 1} of {native.GetSize()[2]} ({why}), {z:g} mm"
    warnings = [fill(f"WARNING: {warning}", LINE_LENGTH) for warning in record["warnings"]]
    figure.suptitle("\n".join([*warnings, _headline(record), where]), color="#b00020" if warnings else "black")
    figure.supxlabel(record["statement"], fontsize=8)
    with written_atomically(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _outline(axes: Axes, mask: np.ndarray, extent: tuple[float, ...]) -> None:
    if mask.any():
        axes.contour(mask.astype(float), [0.5], colors=["#ff4d4d"], linewidths=1.2, extent=extent, origin="upper")


def _slice(labels: np.ndarray, cam: np.ndarray) -> tuple[int, str]:
    marked = (labels != 0).sum(axis=(1, 2))
    if marked.any():
        return int(marked.argmax()), "most marked voxels"
    return int(cam.max(axis=(1, 2)).argmax()), "nothing marked; highest class activation"


def _headline(record: dict[str, Any]) -> str:
    threshold, model = record["threshold"]["value"], record["model"]
    limit = "no threshold" if threshold is None else f"threshold {threshold:.2f}"
    origin = f"{model['variant']}, trained on phantoms" if model["trained_on_phantom"] else model["variant"]
    return f"{record['decision']}: score {record['score']:.2f}, {limit}; {record['volume_ml']:.2f} mL marked ({origin})"
