"""Noise with the texture of a real scan: measured in its soft tissue, drawn on the same grid."""

from dataclasses import dataclass

import numpy as np

from cpmn.errors import CpmnError

PATCH = 24  # voxels; large against the grain, small enough to fit into heart and muscle
PATCHES = 200  # of the smoothest; more change little
SOFT_TISSUE_HU = (-20.0, 90.0)
TRIES = 6000


@dataclass(frozen=True)
class Texture:
    """`sd` in HU and in-plane spectrum: `power` of mean 1 at `frequency`, in cycles per voxel. Slices are independent,
    as thick contiguous ones nearly are."""

    sd: float
    frequency: np.ndarray
    power: np.ndarray

    def draw(self, shape: tuple[int, ...], sd: float, random: np.random.Generator) -> np.ndarray:
        """Noise (z, y, x) float32 of the given standard deviation in HU."""
        y, x = np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2])[None]
        gain = np.sqrt(np.interp(np.hypot(y, x), self.frequency, self.power))
        white = np.fft.rfft2(random.standard_normal(shape, np.float32))
        noise = np.fft.irfft2(white * gain, shape[1:], axes=(1, 2)).astype(np.float32)
        return noise * np.float32(sd / noise.std())


def measure_texture(hu: np.ndarray, seed: int = 0) -> Texture:
    """Texture of a chest (z, y, x) in HU: mean periodogram of the smoothest patches of soft tissue.

    The size is that of the smoothest half of the patches, which on noise alone reads about a sixth low (tested). What
    remains of anatomy after a plane is taken off adds to the lowest frequencies (as in AAPM TG-233, 5.2).

    Raises CpmnError if no patch is quiet enough to be soft tissue alone.
    """
    patches = [_detrended(patch) for patch in _soft_patches(hu, seed)]
    if not patches:
        raise CpmnError(
            "the scan is too noisy: no soft tissue in it is even enough to measure its noise in. Give a reconstruction "
            "with a softer kernel, or choose a larger --shrink."
        )
    patches = sorted(patches, key=lambda patch: float(patch.var()))[: min(PATCHES, max(1, len(patches) // 2))]
    power = np.mean([np.abs(np.fft.fft2(patch)) ** 2 for patch in patches], axis=0)
    radius = np.hypot(np.fft.fftfreq(PATCH)[:, None], np.fft.fftfreq(PATCH)[None])
    edges = np.arange(0.5, PATCH // 2 + 1) / PATCH
    ring = np.digitize(radius, edges)
    profile = np.array([power[ring == one].mean() for one in range(1, len(edges))])
    sd = float(np.sqrt(np.median([patch.var() for patch in patches])))
    return Texture(sd, (edges[:-1] + edges[1:]) / 2, profile / profile.mean())


def noise_sd(hu: np.ndarray, seed: int = 0) -> float:
    """Standard deviation in HU of the noise of a chest (z, y, x)."""
    return measure_texture(hu, seed).sd


def _soft_patches(hu: np.ndarray, seed: int) -> list[np.ndarray]:
    random, found = np.random.default_rng(seed), []
    corners = random.integers(0, [len(hu), hu.shape[1] - PATCH, hu.shape[2] - PATCH], (TRIES, 3))
    for z, y, x in corners:
        patch = hu[z, y : y + PATCH, x : x + PATCH]
        if SOFT_TISSUE_HU[0] < patch.mean() < SOFT_TISSUE_HU[1] and np.ptp(patch) < 300:
            found.append(patch.astype(float))
    return found


def _detrended(patch: np.ndarray) -> np.ndarray:
    y, x = np.indices(patch.shape).reshape(2, -1) / PATCH - 0.5
    terms = np.stack([np.ones_like(x), x, y], axis=1)
    fit, *_ = np.linalg.lstsq(terms, patch.ravel(), rcond=None)
    return (patch.ravel() - terms @ fit).reshape(patch.shape)
