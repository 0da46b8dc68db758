"""Templates in stationary Gaussian noise: prewhitening, and the closed-form answers of the known signal.

For a residual y = c t + noise with covariance K, everything that the data say about the amplitude c of a template t is
u = t' K^-1 y and b = t' K^-1 t: the log of the likelihood ratio is c u - c^2 b / 2 (Barrett and Myers, Foundations of
Image Science, 2004, section 13.2). The phantom's noise is stationary and periodic but for the SD of its slices, so
that K^-1 is a division of the spectrum between two scalings.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy import fft
from scipy import stats

from cpmn.phantom.fields import FWHM_PER_SD

ROUNDING_VARIANCE = 1 / 12
"""HU^2 that rounding to whole HU adds, as white noise (Widrow 1961): it bounds what the finest detail can tell."""

AXES = (0, 1, 2)

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Template:
    """What a clot of 1 HU above blood adds to the image: `share` (z, y, x) inside `box` of the grid, zero elsewhere."""

    box: Box
    share: np.ndarray


class Whitener:
    """K^-1 of a scan's noise: stationary and periodic noise times each slice's SD, and the rounding to whole HU.

    Parameters
    ----------
    power : spectrum of mean 1 (z, y, x // 2 + 1), as in `cpmn.phantom.noise.Noise`.
    sd : standard deviation (z,) of each slice in HU. The rounding is taken as that of the mean slice.
    shape : voxels (z, y, x) of the grid.
    more : spectrum (z, y, x // 2 + 1) in HU^2 of further stationary variation, taken as that of the mean slice.
    """

    def __init__(self, power: np.ndarray, sd: np.ndarray, shape: tuple[int, ...], more: np.ndarray | float = 0.0):
        self.sd = sd[:, None, None]
        self.inverse = 1 / (power + (ROUNDING_VARIANCE + more) / float(np.mean(sd**2)))
        self.kernel = fft.irfftn(self.inverse, shape, AXES)  # the response to a single voxel at 0

    def apply(self, residual: np.ndarray) -> np.ndarray:
        """K^-1 y (z, y, x) of a residual y (z, y, x) in HU."""
        return fft.irfftn(fft.rfftn(residual / self.sd) * self.inverse, residual.shape, AXES) / self.sd

    def energy(self, template: Template) -> float:
        """b = t' K^-1 t in 1/HU^2, exact: the template's autocorrelation times the kernel, lag by lag."""
        scaled = template.share / self.sd[template.box[0]]
        size = np.array(scaled.shape)
        shape = tuple(int(n) for n in np.minimum(2 * size - 1, self.kernel.shape))
        power = np.abs(fft.rfftn(scaled, shape, AXES)) ** 2
        lags = [fft.fftfreq(n, 1 / n).round().astype(int) for n in shape]
        return float((fft.irfftn(power, shape, AXES) * self.kernel[np.ix_(*lags)]).sum())


def smooth_power(shape: tuple[int, ...], spacing: tuple[float, ...], fwhm_mm: float) -> np.ndarray:
    """Spectrum (z, y, x // 2 + 1), of mean 1, of white noise after a Gaussian filter: that of uneven blood.

    shape : voxels (z, y, x). spacing : (x, y, z) in mm. fwhm_mm : of the filter.
    """
    steps = spacing[::-1]
    axes = [*(fft.fftfreq(n, d) for n, d in zip(shape[:2], steps[:2], strict=True)), fft.rfftfreq(shape[2], steps[2])]
    squared = sum(np.square(axis).reshape([-1 if i == j else 1 for j in range(3)]) for i, axis in enumerate(axes))
    power = np.exp(-((2 * math.pi * fwhm_mm / FWHM_PER_SD) ** 2) * squared)
    return power / fft.irfftn(power, shape, AXES)[0, 0, 0]


def response(template: Template, whitened: np.ndarray) -> float:
    """u = t' K^-1 y in 1/HU, from `Whitener.apply`'s result."""
    return float((template.share * whitened[template.box]).sum())


def d_prime(contrast_hu: float, energy: float) -> float:
    """Detectability of a signal whose form, place and contrast are known: sqrt(s' K^-1 s), s = c t."""
    return abs(contrast_hu) * math.sqrt(energy)


def auc_of_known_signal(detectability: float) -> float:
    """AUC = Phi(d' / sqrt 2) of the ideal observer of a signal that is known exactly (Green and Swets 1966)."""
    return float(stats.norm.cdf(detectability / math.sqrt(2)))
