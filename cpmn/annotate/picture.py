"""One picture of an outline that `annotate` made."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure

from cpmn.files import written_atomically
from cpmn.volume.overlay import MARK, glow, show_slice, telling_slice

WINDOW_HU = (-150.0, 550.0)
"""Pulmonary arteries full of contrast medium, and clot in them: centre 200 and width 700 HU, our choice."""


def write_picture(path: Path, ctpa: sitk.Image, outline: np.ndarray, probability: np.ndarray) -> None:
    """Draw the axial slice with most of the `outline`, and the probability beside it; arrays are (z, y, x)."""
    index, why = telling_slice(len(outline), prediction=outline, cam=probability)
    plane = sitk.GetArrayViewFromImage(ctpa)[index]
    x, y, z = ctpa.GetSpacing()
    figure = Figure(figsize=(10, 5), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    show_slice(left, plane, (x, y), {MARK: outline[index] != 0}, WINDOW_HU)
    left.set_title("Outlined by a network: look before you trust it")
    extent = show_slice(right, plane, (x, y), {}, WINDOW_HU)
    right.imshow(glow(probability[index]), extent=extent)
    right.set_title("Probability of embolus")
    figure.suptitle(f"CTPA, slice {index + 1} of {len(outline)} of the lung box ({why}), {z:g} mm")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
