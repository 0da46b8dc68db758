"""Picture of a registration for the report: both scans over each other, before and after, and the Jacobian."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cpmn.files import written_atomically
from cpmn.register.prepare import Side
from cpmn.volume.overlay import grey
from cpmn.volume.transforms import jacobian_determinant, load_transform

DISPLAY_HU = (-1000.0, 100.0)


def write_picture(fixed: Side, moving: Side, affine: Path, warp: Path, title: str, output: Path) -> None:
    """Write a PNG: coronal and axial slice through the middle of the lungs.

    Columns: as scanned, after the affine step, after the deformable step (NCT red, CTPA cyan: what matches is grey),
    and the Jacobian determinant.
    """
    steps = {
        "as scanned": sitk.Transform(3, sitk.sitkIdentity),
        "affine": load_transform(affine),
        "deformable": load_transform(affine, warp),
    }
    background = float(DISPLAY_HU[0])
    nct = grey(sitk.GetArrayViewFromImage(fixed.working), DISPLAY_HU)
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    axes = figure.subplots(2, 4)
    for column, (name, transform) in enumerate(steps.items()):
        warped = sitk.Resample(moving.working, fixed.working, transform, sitk.sitkLinear, background)
        ctpa = grey(sitk.GetArrayViewFromImage(warped), DISPLAY_HU)
        _show(axes[:, column], np.stack([nct, ctpa, ctpa], axis=-1), name)
    jacobian = sitk.GetArrayFromImage(jacobian_determinant(affine, warp))
    drawn = _show(axes[:, 3], jacobian, "Jacobian determinant", cmap="coolwarm", vmin=0, vmax=2)
    figure.colorbar(drawn, ax=axes[:, 3].tolist(), shrink=0.7)
    figure.suptitle(title)
    FigureCanvasAgg(figure)
    with written_atomically(output) as temporary:
        figure.savefig(temporary, dpi=70, metadata={"Software": None})


def _show(axes: np.ndarray, volume: np.ndarray, title: str, **style):
    depth, height = volume.shape[:2]
    axes[0].imshow(volume[:, height // 2], origin="lower", **style)
    drawn = axes[1].imshow(volume[depth // 2], **style)
    axes[0].set_title(title)
    for axis in axes:
        axis.set_axis_off()
    return drawn
