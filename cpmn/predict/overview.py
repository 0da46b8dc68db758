"""One picture of a prediction."""

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from cpmn.files import written_atomically
from cpmn.volume.box import box_of
from cpmn.volume.overlay import ACTIVATION, MARK, glow, show_slice, telling_slice

DPI = 110
LINE_LENGTH = 110  # characters of the title that fit the picture


def write_overview(
    path: Path, native: sitk.Image, crop: sitk.Image, labels: np.ndarray, cam: np.ndarray, record: dict[str, Any]
) -> None:
    """Draw the axial slice with most marked voxels: with the prediction's outline, and with the class activation.

    Without a marked voxel it is the slice of the highest activation. Patient's right is on the left of the
    picture. `labels` and `cam` are (z, y, x) on the grid of `native` (HU, LPS); `crop` tells which part is shown.
    """
    index, why = telling_slice(len(labels), prediction=labels, cam=cam)
    rows, columns = box_of(crop, native).slices[1:]
    plane = sitk.GetArrayViewFromImage(native)[index, rows, columns]
    x, y, z = native.GetSpacing()
    figure = Figure(figsize=(10, 5.4), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    show_slice(left, plane, (x, y), {MARK: labels[index, rows, columns] != 0})
    left.set_title("Marked as embolus")
    extent = show_slice(right, plane, (x, y), {})
    right.set_title("Class activation")
    right.imshow(glow(cam[index, rows, columns]), extent=extent)
    colours = ScalarMappable(Normalize(0, 1), ACTIVATION)
    figure.colorbar(colours, ax=right, shrink=0.7)
    where = f"slice {index + 1} of {native.GetSize()[2]} ({why}), {z:g} mm"
    warnings = [fill(f"WARNING: {warning}", LINE_LENGTH) for warning in record["warnings"]]
    figure.suptitle("\n".join([*warnings, _headline(record), where]), color="#b00020" if warnings else "black")
    figure.supxlabel(record["statement"], fontsize=8)
    with written_atomically(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _headline(record: dict[str, Any]) -> str:
    threshold, variant = record["threshold"]["value"], record["model"]["variant"]
    limit = "no threshold" if threshold is None else f"threshold {threshold:.2f}"
    return (
        f"{record['decision']}: score {record['score']:.2f}, {limit}; {record['volume_ml']:.2f} mL marked ({variant})"
    )
