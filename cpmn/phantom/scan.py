"""Scanning a patient: one phase's grid, partial volume, clot labels and noise."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy
from cpmn.phantom.emboli import Clot
from cpmn.phantom.materials import FIRST_CLOT, Tissue
from cpmn.phantom.render import Canvas, Grid
from cpmn.phantom.streams import random_stream
from cpmn.phantom.vessels import vessel_shapes

Phase = Literal["nct", "ctpa"]

FOV_CENTER = (0.0, 2.0, 2.0)  # of the canonical chest, in mm
POSITIONING_MM = 3.0  # largest shift of a field of view from it, each phase its own; our choice
LOWEST_HU, HIGHEST_HU = -1024, 3071  # 12 bits, as scanners store them
VESSEL_BED = (Tissue.LUNG, Tissue.MEDIASTINUM, Tissue.AIRWAY_WALL, Tissue.AIRWAY)  # what vessels may replace
CLOT_SHARE = 0.5  # a voxel belongs to a clot that fills at least this much of it


@dataclass(frozen=True)
class Scan:
    """One phase. `hu` (z, y, x) int16 with noise; `clean` float32 without; `clots` (z, y, x) uint8, values clot ids;
    `clot_ml` the exact volume of each clot in the scanned voxels, by id."""

    phase: Phase
    grid: Grid
    hu: np.ndarray
    clean: np.ndarray
    clots: np.ndarray
    clot_ml: dict[int, float]


def scan_phase(config: PhantomConfig, anatomy: Anatomy, phase: Phase) -> Scan:
    """Scan a patient (or its embolus-free twin, which gets the same noise)."""
    grid = phase_grid(config, anatomy, phase)
    canvas = draw(anatomy, grid, phase, config.subsample_mm)
    clean = _clean(canvas, anatomy, phase)
    random = random_stream(config.seed, anatomy.patient_id, f"{phase} noise")
    sd = config.nct_noise_hu if phase == "nct" else config.ctpa_noise_hu
    noisy = clean + correlated_noise(grid, sd, config.noise_fwhm_mm, random)
    hu = np.clip(np.rint(noisy), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    shares = {label - FIRST_CLOT: share for label, share in canvas.fractions_above(FIRST_CLOT).items()}
    for clot in anatomy.clots:
        shares.setdefault(clot.clot_id, _at_center(clot, anatomy, grid, phase))
    volumes = {clot_id: float(share.sum(dtype=np.float64)) * grid.voxel_ml for clot_id, share in shares.items()}
    return Scan(phase, grid, hu, clean, clot_labels(shares, clean.shape), volumes)


def phase_grid(config: PhantomConfig, anatomy: Anatomy, phase: Phase) -> Grid:
    """Voxel grid of a phase: its size depends on the configuration alone, its position is the patient's own."""
    spacing, extent = (
        (config.nct_spacing, config.nct_fov_mm) if phase == "nct" else (config.ctpa_spacing, config.ctpa_fov_mm)
    )
    random = random_stream(config.seed, anatomy.patient_id, f"{phase} position")
    center = np.array(FOV_CENTER) * anatomy.scale + random.uniform(-POSITIONING_MM, POSITIONING_MM, 3)
    size = tuple(max(8, int(length / step)) for length, step in zip(extent, spacing, strict=True))
    # Whole hundredths of a mm: exact in DICOM's decimal strings.
    origin = tuple(round(float(c) - (n - 1) * s / 2, 2) for c, n, s in zip(center, size, spacing, strict=True))
    return Grid(size, spacing, origin)  # type: ignore[arg-type]


def draw(anatomy: Anatomy, grid: Grid, phase: Phase, subsample_mm: float) -> Canvas:
    """Draw the patient; clots come last and only inside arteries."""
    canvas = Canvas(grid, anatomy.motion if phase == "nct" else None, subsample_mm)
    canvas.paint(anatomy.parts)
    canvas.paint(anatomy.bronchi)
    canvas.paint([(Tissue.VEIN, shape) for shape in vessel_shapes(anatomy.veins)], over=VESSEL_BED)
    canvas.paint([(Tissue.ARTERY, shape) for shape in vessel_shapes(anatomy.arteries)], over=(*VESSEL_BED, Tissue.VEIN))
    canvas.paint(anatomy.airways)
    canvas.paint([(FIRST_CLOT + clot.clot_id, clot.shape) for clot in anatomy.clots], over=(Tissue.ARTERY,))
    return canvas


def clot_labels(shares: dict[int, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Clot ids (z, y, x) uint8 from each clot's share of the voxels.

    A voxel belongs to a clot that fills at least half of it; a clot that fills no voxel so far keeps the fullest one
    that is free, so that no clot is lost.
    """
    labels = np.zeros(shape, np.uint8)
    for clot_id, share in shares.items():
        labels[(share >= CLOT_SHARE) & (labels == 0)] = clot_id
    for clot_id, share in shares.items():
        if not (labels == clot_id).any():
            labels.flat[np.argmax(np.where(labels == 0, share, -1))] = clot_id
    return labels


def correlated_noise(grid: Grid, sd: float, fwhm_mm: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise (z, y, x) of the given standard deviation in HU, smoothed to the given correlation width."""
    sigma = [fwhm_mm / 2.355 / step for step in grid.spacing[::-1]]
    noise = gaussian_filter(random.standard_normal(grid.size[::-1], np.float32), sigma, mode="wrap")
    return noise * np.float32(sd / noise.std())


def grid_image(array: np.ndarray, grid: Grid, vector: bool = False) -> sitk.Image:
    """Image of an array (z, y, x), or of vectors (z, y, x, 3), on a grid."""
    image = sitk.GetImageFromArray(array, isVector=vector)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    return image


def motion_image(anatomy: Anatomy, grid: Grid) -> sitk.Image:
    """u on an NCT grid, float32 vectors in mm (LPS): NCT point x shows CTPA point x + u(x)."""
    x, y, z = grid.axes()
    field = anatomy.motion.displacement(x[None, None, :], y[None, :, None], z[:, None, None])
    return grid_image(field.astype(np.float32), grid, vector=True)


def _clean(canvas: Canvas, anatomy: Anatomy, phase: Phase) -> np.ndarray:
    """HU (z, y, x) without noise. Lung keeps its mass: stretched by the motion it is darker, compressed brighter."""
    table = anatomy.attenuation.nct if phase == "nct" else anatomy.attenuation.ctpa
    hu = canvas.mean(table)
    lung = canvas.fraction(Tissue.LUNG)
    back = canvas.centers[..., 1] / np.float32(80 * anatomy.scale[1])
    density = (table[Tissue.LUNG] + 1000) * canvas.compression() * (1 + 0.15 * back)  # more blood in the lower part
    return (hu + lung * (density - 1000 - table[Tissue.LUNG])).astype(np.float32)


def _at_center(clot: Clot, anatomy: Anatomy, grid: Grid, phase: Phase) -> np.ndarray:
    """Share (z, y, x) of a clot so small that every sample misses it: next to nothing, in the voxel of its centre."""
    point = anatomy.motion.to_nct(clot.center) if phase == "nct" else clot.center
    index = np.rint((point - grid.origin) / grid.spacing).astype(int)
    share = np.zeros(grid.size[::-1], np.float32)
    share[tuple(np.clip(index, 0, np.array(grid.size) - 1)[::-1])] = 1e-6
    return share
