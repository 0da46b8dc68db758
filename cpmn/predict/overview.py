"""One picture of a prediction."""

from collections.abc import Mapping
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
from cpmn.volume.overlay import ACTIVATION, MARK, glow, show_slice, telling_slice

DPI = 110
LINE_LENGTH = 130  # characters of the title that fit the picture
WINDOW_HU = (-35.0, 125.0)  # centre 45, width 160: blood and clots without contrast medium differ by 10-40 HU
SHOWN = 3  # largest lesions, each in a column
CAPTION = {"color": "#ffd84d", "fontsize": 10, "fontweight": "bold", "va": "top"}


def write_overview(
    path: Path, native: sitk.Image, crop: sitk.Image, labels: np.ndarray, cam: np.ndarray, record: Mapping[str, Any]
) -> None:
    """Draw the three largest lesions, each in an axial and a coronal slice, and the class activation beside them.

    A lesion's slices are those of its largest area. Without one it is the axial slice of the highest activation, and
    the coronal one too. R and L are the patient's right and left, the right on the left of the picture.

    Parameters
    ----------
    labels, cam : (z, y, x) on the grid of `native` (HU, LPS); labels are numbers of the lesions in `record`.
    crop : tells which part is shown.
    """
    box = box_of(crop, native).slices
    hu, labels, cam = sitk.GetArrayViewFromImage(native)[box], labels[box], cam[box]
    lesions = record["lesions"][:SHOWN]
    masks = {lesion["number"]: labels == lesion["number"] for lesion in lesions} or {0: labels != 0}
    figure = Figure(figsize=(4 * (len(masks) + 1), 8.2), dpi=DPI, layout="constrained")
    axes = figure.subplots(2, len(masks) + 1, squeeze=False)
    for column, (number, mask) in enumerate(masks.items()):
        views = _views(hu, labels != 0, cam, native, *_places(mask, cam))
        for row, view in enumerate(views):
            view.show(axes[row, column])
        axial = f"slice {views[0].index + box[0].start + 1} of {native.GetSize()[2]}"
        axes[0, column].set_title(f"{_named(record, number)}\n{axial}, axial", fontsize=10)
        axes[1, column].set_title("coronal", fontsize=10)
    views = _views(hu, labels != 0, cam, native, *_places(next(iter(masks.values())), cam))
    for row, view in enumerate(views):
        view.show(axes[row, -1], activation=True)
    axes[0, -1].set_title(f"Class activation\nslice {views[0].index + box[0].start + 1}", fontsize=10)
    figure.colorbar(ScalarMappable(Normalize(0, 1), ACTIVATION), ax=list(axes[:, -1]), shrink=0.5)
    warnings = [fill(f"WARNING: {warning}", LINE_LENGTH) for warning in record["warnings"]]
    figure.suptitle("\n".join([*warnings, _headline(record)]), color="#b00020" if warnings else "black")
    figure.supxlabel(record["statement"], fontsize=11, fontweight="bold")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


class _View:
    """A slice of a scan, of what is marked in it and of the activation; `index` is its place along its axis."""

    def __init__(self, index: int, spacing: tuple[float, float], *planes: np.ndarray):
        self.index, self._spacing = index, spacing
        self._hu, self._marked, self._cam = planes

    def show(self, axes: Axes, activation: bool = False) -> None:
        """Draw it, with the patient's sides; with the activation in place of the outlines if that is asked for."""
        extent = show_slice(axes, self._hu, self._spacing, {} if activation else {MARK: self._marked}, WINDOW_HU)
        if activation:
            axes.imshow(glow(self._cam), extent=extent)
        axes.text(0.02, 0.98, "R", ha="left", transform=axes.transAxes, **CAPTION)
        axes.text(0.98, 0.98, "L", ha="right", transform=axes.transAxes, **CAPTION)


def _views(
    hu: np.ndarray, marked: np.ndarray, cam: np.ndarray, native: sitk.Image, z: int, y: int
) -> tuple[_View, _View]:
    """The axial slice `z` and the coronal slice `y`, the head above."""
    dx, dy, dz = native.GetSpacing()
    volumes = (hu, marked, cam)
    return _View(z, (dx, dy), *(one[z] for one in volumes)), _View(y, (dx, dz), *(one[::-1, y] for one in volumes))


def _places(mask: np.ndarray, cam: np.ndarray) -> tuple[int, int]:
    """Indices along z and y of the slices worth showing: the largest area of the mask, else the highest activation."""
    z, _ = telling_slice(len(mask), prediction=mask, cam=cam)
    turned = np.moveaxis(mask, 1, 0), np.moveaxis(cam, 1, 0)
    y, _ = telling_slice(mask.shape[1], prediction=turned[0], cam=turned[1])
    return z, y


def _named(record: Mapping[str, Any], number: int) -> str:
    """What a column shows."""
    if not number:
        return "Nothing marked"
    lesion = record["lesions"][number - 1]
    side = "both sides" if lesion["side"] == "both" else lesion["side"]
    return f"Mark {number} of {len(record['lesions'])}: {lesion['volume_ml']:.2f} mL, {side}, {lesion['region']}"


def _headline(record: Mapping[str, Any]) -> str:
    threshold, variant = record["threshold"]["value"], record["model"]["variant"]
    limit = "no threshold" if threshold is None else f"threshold {threshold:.2f}"
    return (
        f"{record['decision']}: score {record['score']:.2f}, {limit}; {record['volume_ml']:.2f} mL marked ({variant})"
    )
