"""Scanning a patient: one phase's grid, partial volume, clot labels and noise."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.artery_vein import ARTERY, VEIN
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, without_emboli
from cpmn.phantom.blur import draw_sway
from cpmn.phantom.emboli import Clot
from cpmn.phantom.image import clean_image, water_area
from cpmn.phantom.materials import FIRST_CLOT, Tissue
from cpmn.phantom.motion import Motion
from cpmn.phantom.noise import PLAIN, Noise, Protocol, draw_protocol, noise_power, slice_noise
from cpmn.phantom.pulmonary import vessel_shapes
from cpmn.phantom.render import Canvas, Grid
from cpmn.phantom.streams import random_stream

Phase = Literal["nct", "ctpa"]

FOV_CENTER = (0.0, 2.0, 2.0)  # of the canonical chest, in mm
POSITIONING_MM = 3.0  # largest shift of a field of view from it, each phase its own; our choice
LOWEST_HU, HIGHEST_HU = -1024, 3071  # 12 bits, as scanners store them
VESSEL_BED = (
    Tissue.LUNG,
    Tissue.MEDIASTINUM,
    Tissue.AIRWAY_WALL,
    Tissue.AIRWAY,
    Tissue.ATELECTASIS,
    Tissue.EFFUSION,
    Tissue.NODE,
    Tissue.NODULE,
    Tissue.FISSURE,
    Tissue.CUFF,
)
"""What vessels may replace."""
VESSEL_SHARE = 0.5
CLOT_SHARE = 0.5  # a voxel belongs to a clot that fills at least this much of it


@dataclass(frozen=True)
class Scan:
    """One phase. `hu` (z, y, x) int16 with noise; `clean` float32 without; `clots` (z, y, x) uint8, values clot ids;
    `clot_ml` the exact volume of each clot in the scanned voxels, by id; `noise` what the noise was drawn from."""

    phase: Phase
    grid: Grid
    hu: np.ndarray
    clean: np.ndarray
    clots: np.ndarray
    clot_ml: dict[int, float]
    noise: Noise


def scan_phase(config: PhantomConfig, anatomy: Anatomy, phase: Phase) -> Scan:
    """Scan a patient (or its embolus-free twin, which gets the same noise)."""
    canvas = draw_phase(config, anatomy, phase)
    grid = canvas.grid
    clean, noise = clean_image(config, canvas, anatomy, phase), phase_noise(config, canvas, anatomy, phase)
    hu = with_noise(config, anatomy.patient_id, phase, clean, noise)
    shares = {label - FIRST_CLOT: share for label, share in canvas.fractions_above(FIRST_CLOT).items()}
    for clot in anatomy.clots:
        shares.setdefault(clot.clot_id, _at_center(clot, anatomy, grid, phase))
    volumes = {clot_id: float(share.sum(dtype=np.float64)) * grid.voxel_ml for clot_id, share in shares.items()}
    return Scan(phase, grid, hu, clean, clot_labels(shares, clean.shape), volumes, noise)


def with_noise(config: PhantomConfig, patient_id: str, phase: Phase, clean: np.ndarray, noise: Noise) -> np.ndarray:
    """HU (z, y, x) int16 as scanned, from the HU without noise (z, y, x)."""
    drawn = noise.draw(clean.shape[::-1], random_stream(config.seed, patient_id, f"{phase} noise"))
    return np.clip(np.rint(clean + drawn), LOWEST_HU, HIGHEST_HU).astype(np.int16)


def phase_protocol(config: PhantomConfig, anatomy: Anatomy, phase: Phase) -> Protocol:
    """Dose and kernel of a phase."""
    return (
        draw_protocol(random_stream(config.seed, anatomy.patient_id, f"{phase} protocol")) if config.nuisance else PLAIN
    )


def phase_sway(config: PhantomConfig, anatomy: Anatomy, phase: Phase) -> Motion | None:
    """Heartbeat and breathing during a phase."""
    random = random_stream(config.seed, anatomy.patient_id, f"{phase} sway")
    return draw_sway(anatomy.scale, random) if config.nuisance else None


def phase_noise(config: PhantomConfig, canvas: Canvas, anatomy: Anatomy, phase: Phase) -> Noise:
    """The noise that a phase is drawn with: the same for a patient and its twin."""
    protocol = phase_protocol(config, anatomy, phase)
    usual = config.nct_noise_hu if phase == "nct" else config.ctpa_noise_hu
    sd = protocol.noise_hu(usual, canvas.grid.spacing[2])
    return Noise(slice_noise(water_area(canvas, anatomy), sd), noise_power(canvas.grid, protocol.kernel))


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


def draw_phase(config: PhantomConfig, anatomy: Anatomy, phase: Phase) -> Canvas:
    """Labels of a phase on its grid, with its motion."""
    grid, sway = phase_grid(config, anatomy, phase), phase_sway(config, anatomy, phase)
    return draw(anatomy, grid, phase, config.subsample_mm, sway)


def draw(anatomy: Anatomy, grid: Grid, phase: Phase, subsample_mm: float, sway: Motion | None = None) -> Canvas:
    """Draw the patient; clots come last and only inside arteries."""
    canvas = Canvas(grid, anatomy.motion if phase == "nct" else None, subsample_mm, sway)
    canvas.paint(anatomy.parts)
    canvas.paint(anatomy.bronchi)
    for layer in anatomy.findings.early:
        canvas.paint(layer.parts, over=layer.over)
    canvas.paint([(Tissue.VEIN, shape) for shape in vessel_shapes(anatomy.veins)], over=VESSEL_BED)
    canvas.paint([(Tissue.ARTERY, shape) for shape in vessel_shapes(anatomy.arteries)], over=(*VESSEL_BED, Tissue.VEIN))
    canvas.paint(anatomy.airways)
    for layer in anatomy.findings.late:
        canvas.paint(layer.parts, over=layer.over)
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


def vessel_labels(config: PhantomConfig, anatomy: Anatomy) -> np.ndarray:
    """Vessels (z, y, x) uint8 on the NCT grid, 1 artery, 2 vein: voxels at least half full of them.

    They are the embolus-free twin's, so that nothing in them tells who has emboli, or where.
    """
    canvas = draw_phase(config, without_emboli(anatomy), "nct")
    artery = canvas.fraction(Tissue.ARTERY) + canvas.fraction(Tissue.FILLING)
    vein = canvas.fraction(Tissue.VEIN)
    return np.where(artery + vein < VESSEL_SHARE, 0, np.where(artery >= vein, ARTERY, VEIN)).astype(np.uint8)


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


def _at_center(clot: Clot, anatomy: Anatomy, grid: Grid, phase: Phase) -> np.ndarray:
    """Share (z, y, x) of a clot so small that every sample misses it: next to nothing, in the voxel of its centre."""
    point = anatomy.motion.to_nct(clot.center) if phase == "nct" else clot.center
    index = np.rint((point - grid.origin) / grid.spacing).astype(int)
    share = np.zeros(grid.size[::-1], np.float32)
    share[tuple(np.clip(index, 0, np.array(grid.size) - 1)[::-1])] = 1e-6
    return share
