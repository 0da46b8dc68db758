"""Quantum noise: its size from dose, slice thickness and the patient, and its power spectrum from the kernel."""

from dataclasses import dataclass

import numpy as np

from cpmn.phantom.fields import FWHM_PER_SD
from cpmn.phantom.render import Grid

REFERENCE_MM = 3.0  # slice thickness that the configured noise stands for
DOSE_SPREAD = 0.3  # logarithmic SD of the dose between patients; our choice
SHARP_SHARE = 0.25  # of the scans; our choice
SHARP_GAIN = 1.4  # noise of the sharp kernel relative to the soft one; our choice
CUTOFF_PER_MM = {"soft": 0.46, "sharp": 0.75}
"""Apodisation. In two real chests (Philips B, Siemens B40f) the power is level to 0.35/mm and halved at 0.42-0.46/mm;
see `docs/phantom.md`."""
FLOOR = 0.5  # power at frequency 0 relative to the ramp's at the cutoff: electronic noise and fine structure; measured
SLICE_FWHM = 0.9  # correlation between slices, in slices; our choice: contiguous slices overlap little
WATER_PER_MM = 0.02  # attenuation of water at CT energies
MODULATION = 0.25  # share of a slice's extra attenuation that shows as noise: half is the square root of the dose,
# half of that is made up for by the tube current; our choice


@dataclass(frozen=True)
class Protocol:
    """How a phase was exposed and reconstructed: dose relative to the usual one, and kernel ('soft' or 'sharp')."""

    dose: float
    kernel: str

    def noise_hu(self, usual_hu: float, thickness_mm: float) -> float:
        """Standard deviation: proportional to 1 / sqrt(thickness x dose), `usual_hu` at 3 mm and the usual dose."""
        gain = SHARP_GAIN if self.kernel == "sharp" else 1.0
        return usual_hu * gain * float(np.sqrt(REFERENCE_MM / (thickness_mm * self.dose)))


PLAIN = Protocol(1.0, "soft")


@dataclass(frozen=True)
class Noise:
    """A phase's noise model: stationary Gaussian noise of SD 1 times `sd`, the standard deviation (z,) by slice in HU.

    `power` (z, y, x // 2 + 1) is the spectrum on `numpy.fft.rfftn`'s frequencies; its mean over all frequencies is 1,
    so the covariance of two voxels is its inverse transform. The grid is taken as periodic.
    """

    sd: np.ndarray
    power: np.ndarray

    def draw(self, size: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
        """Noise (z, y, x) in HU on a grid of the given size (x, y, z)."""
        white = np.fft.rfftn(random.standard_normal(size[::-1], np.float32)).astype(np.complex64)
        shaped = np.fft.irfftn(white * np.sqrt(self.power), s=size[::-1], axes=(0, 1, 2)).astype(np.float32)
        return shaped * self.sd.astype(np.float32)[:, None, None]


def draw_protocol(random: np.random.Generator) -> Protocol:
    """A patient's exposure of one phase."""
    dose = float(np.exp(np.clip(random.normal(0, DOSE_SPREAD), -0.7, 0.7)))
    return Protocol(dose, "sharp" if random.random() < SHARP_SHARE else "soft")


def noise_power(grid: Grid, kernel: str) -> np.ndarray:
    """Power spectrum (z, y, x // 2 + 1) of mean 1.

    In the plane that of filtered back-projection, ramp times apodisation (Riederer, Pelc, Chesler 1978;23:446-454), on
    a floor; frequencies above half the sampling rate fold back. Along z the interpolation of the slices.
    """
    x, y, z = (_frequencies(n, s) for n, s in zip(grid.size, grid.spacing, strict=True))
    cutoff = CUTOFF_PER_MM[kernel]
    folds = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    plane = sum(
        _kernel_power(np.hypot(x[None] + i / grid.spacing[0], y[:, None] + j / grid.spacing[1]), cutoff)
        for i, j in folds
    )
    width = SLICE_FWHM * grid.spacing[2] / FWHM_PER_SD
    along = np.exp(-((2 * np.pi * z * width) ** 2))
    full = along[:, None, None] * np.asarray(plane)[None]
    return (full / full.mean())[..., : grid.size[0] // 2 + 1].astype(np.float32)


def slice_noise(water_mm2: np.ndarray, sd: float) -> np.ndarray:
    """Standard deviation (z,) by slice, of mean `sd`, from each slice's water-equivalent area (z,) in mm^2."""
    diameter = 2 * np.sqrt(np.maximum(water_mm2, 1) / np.pi)
    factor = np.exp(WATER_PER_MM * MODULATION * (diameter - diameter.mean()))
    return sd * factor / factor.mean()


def _kernel_power(frequency: np.ndarray, cutoff: float) -> np.ndarray:
    t = frequency / cutoff
    return (FLOOR + t) * np.exp(-(t**4))


def _frequencies(count: int, step: float) -> np.ndarray:
    return np.fft.fftfreq(count, step)
