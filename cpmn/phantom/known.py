"""What a reference observer may know of a patient: everything but whether there are emboli, and where."""

from dataclasses import dataclass

import numpy as np

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, without_emboli
from cpmn.phantom.image import clean_image
from cpmn.phantom.materials import Tissue
from cpmn.phantom.noise import Noise
from cpmn.phantom.render import Canvas, Grid
from cpmn.phantom.scan import Phase, draw_phase, phase_noise


@dataclass(frozen=True)
class Known:
    """A phase without emboli. The scan of the patient is `twin` + what clots change + noise drawn from `noise`.

    `twin` (z, y, x) is the embolus-free HU with the same motion, blur and streaks, `canvas` what it was drawn from.
    """

    canvas: Canvas
    twin: np.ndarray
    noise: Noise

    @property
    def grid(self) -> Grid:
        """Voxels of the phase."""
        return self.canvas.grid

    @property
    def artery(self) -> np.ndarray:
        """Share (z, y, x) of each voxel inside the arteries, where clots can be."""
        return self.canvas.fraction(Tissue.ARTERY)


def known_of(config: PhantomConfig, anatomy: Anatomy, phase: Phase = "nct") -> Known:
    """Everything but the emboli of a patient's phase; the same for a patient and its twin."""
    twin = without_emboli(anatomy)
    canvas = draw_phase(config, twin, phase)
    clean, noise = clean_image(config, canvas, twin, phase), phase_noise(config, canvas, twin, phase)
    return Known(canvas, clean, noise)
