"""What a reference observer may know of a patient: everything but whether there are emboli, and where."""

from dataclasses import dataclass

import numpy as np

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, without_emboli
from cpmn.phantom.difficulty import DRAWN_ONCE_PER_PATIENT, MIXTURES, PATIENT_SPREAD_HU, Component
from cpmn.phantom.emboli import COUNT, PREFERENCE, VOLUME_ML
from cpmn.phantom.image import clean_image
from cpmn.phantom.materials import Tissue
from cpmn.phantom.noise import Noise
from cpmn.phantom.render import Grid
from cpmn.phantom.scan import Phase, draw_phase, phase_noise


@dataclass(frozen=True)
class Priors:
    """From what a difficulty's clots are drawn.

    `contrast` is a mixture of ranges in HU over blood; where `once_per_patient`, a patient's clots share one draw and
    lie `spread_hu` round it. `volume_ml` is (median, logarithmic SD, smallest, largest) of a lognormal distribution,
    `count` (mean, fewest, most) of a Poisson distribution, `preference` the weight of one artery by place.
    """

    contrast: tuple[Component, ...]
    once_per_patient: bool
    spread_hu: float
    volume_ml: tuple[float, float, float, float]
    count: tuple[float, int, int]
    preference: dict[str, float]


@dataclass(frozen=True)
class Known:
    """A phase without emboli. The scan of the patient is `twin` + what clots change + noise drawn from `noise`.

    `twin` (z, y, x) is the embolus-free HU with the same motion, blur and streaks; `artery` (z, y, x) the share of
    each voxel inside the arteries, where clots can be.
    """

    grid: Grid
    twin: np.ndarray
    artery: np.ndarray
    noise: Noise
    priors: Priors


def known_of(config: PhantomConfig, anatomy: Anatomy, phase: Phase = "nct") -> Known:
    """Everything but the emboli of a patient's phase; the same for a patient and its twin."""
    twin = without_emboli(anatomy)
    canvas = draw_phase(config, twin, phase)
    clean, noise = clean_image(config, canvas, twin, phase), phase_noise(config, canvas, twin, phase)
    return Known(canvas.grid, clean, canvas.fraction(Tissue.ARTERY), noise, priors_of(config.difficulty))


def priors_of(difficulty: str) -> Priors:
    """Priors of a difficulty."""
    return Priors(
        contrast=MIXTURES[difficulty],
        once_per_patient=difficulty in DRAWN_ONCE_PER_PATIENT,
        spread_hu=PATIENT_SPREAD_HU,
        volume_ml=VOLUME_ML,
        count=COUNT,
        preference=dict(PREFERENCE),
    )
