"""From labels to HU without noise: partial volume, lung density, blood, streaks. Clots change clot voxels alone."""

import numpy as np

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy
from cpmn.phantom.artefacts import bone_streaks, vein_streaks
from cpmn.phantom.fields import smooth_field
from cpmn.phantom.materials import BLOOD, FIRST_CLOT, LABELS, Tissue
from cpmn.phantom.render import Canvas
from cpmn.phantom.streams import random_stream
from cpmn.phantom.torso import UPPER_CAVA

BLOOD_SD_HU, BLOOD_FWHM_MM = (3.0, 5.0), (10.0, 30.0)  # smooth variation of unenhanced blood, per patient
FLOW = {Tissue.CAVA: 0.2, Tissue.RIGHT_HEART: 0.12, Tissue.ARTERY: 0.05, Tissue.VEIN: 0.04, Tissue.LEFT_HEART: 0.04}
"""Unmixed contrast medium: SD as a share of the enhancement; our choice."""
LUNG_SD_HU, LUNG_FWHM_MM = (10.0, 25.0), 18.0  # uneven aeration and perfusion; our choice
GRAVITY = 0.15  # the lung's density grows by this share from its middle to its back: more blood in the lower part
BONES = (Tissue.CORTICAL_BONE, Tissue.SPONGY_BONE)


def clean_image(
    config: PhantomConfig, canvas: Canvas, anatomy: Anatomy, phase: str, even_blood: bool = False
) -> np.ndarray:
    """HU (z, y, x) float32 of a drawn phase ('nct' or 'ctpa') without noise; with `even_blood` of one HU throughout."""
    table = anatomy.attenuation.nct if phase == "nct" else anatomy.attenuation.ctpa
    hu = canvas.mean(table)
    _add_lung(config, hu, canvas, anatomy, float(table[Tissue.LUNG]))
    if config.nuisance:
        if not even_blood:
            _add_blood(config, hu, canvas, anatomy, phase)
        random = random_stream(config.seed, anatomy.patient_id, f"{phase} streaks")
        bone = canvas.mean(_table(dict.fromkeys(BONES, 1.0)))
        hu += bone_streaks(bone, canvas.grid, anatomy.habitus.arms_down, random)
        if phase == "ctpa":
            vein = np.array((UPPER_CAVA[-1], UPPER_CAVA[0])) * anatomy.scale
            hu += vein_streaks(canvas.grid, vein, float(table[Tissue.CAVA]), random)
    return hu


def water_area(canvas: Canvas, anatomy: Anatomy) -> np.ndarray:
    """Water-equivalent area (z,) of each slice in mm^2, without contrast medium and whatever clots there are."""
    table = (anatomy.attenuation.nct + 1000) / 1000
    table[FIRST_CLOT:] = table[Tissue.ARTERY]
    x, y, _ = canvas.grid.spacing
    return canvas.mean(table).sum(axis=(1, 2), dtype=np.float64) * x * y


def _add_lung(config: PhantomConfig, hu: np.ndarray, canvas: Canvas, anatomy: Anatomy, usual: float) -> None:
    """Lung keeps its mass: stretched by the motion it is darker, compressed brighter."""
    share = canvas.fraction(Tissue.LUNG)
    inside = share > 0
    back = canvas.centers[inside][:, 1] / np.float32(80 * anatomy.scale[1])
    compression = canvas.compression()
    density = (usual + 1000) * (compression[inside] if isinstance(compression, np.ndarray) else compression)
    density = density * (1 + GRAVITY * back)
    if config.nuisance:
        random = random_stream(config.seed, anatomy.patient_id, "lung texture")
        sd = random.uniform(*LUNG_SD_HU)
        density = np.maximum(density + sd * smooth_field(canvas.centers[inside], LUNG_FWHM_MM, random), 20)
    hu[inside] += share[inside] * (density - 1000 - usual).astype(np.float32)


def blood_variation(config: PhantomConfig, patient_id: str, phase: str) -> tuple[float, float, np.random.Generator]:
    """SD in HU and correlation width (FWHM) in mm of a patient's uneven blood, and the stream that it is drawn from."""
    random = random_stream(config.seed, patient_id, f"{phase} blood")
    return random.uniform(*BLOOD_SD_HU), random.uniform(*BLOOD_FWHM_MM), random


def _add_blood(config: PhantomConfig, hu: np.ndarray, canvas: Canvas, anatomy: Anatomy, phase: str) -> None:
    """Blood is not quite even: cells settle, contrast medium mixes. Clots in NCT vary as the blood round them does."""
    sd, fwhm, random = blood_variation(config, anatomy.patient_id, phase)
    weights = _table(dict.fromkeys(BLOOD, sd))
    if phase == "nct":
        weights[FIRST_CLOT:] = sd
    else:
        for tissue, share in FLOW.items():
            weights[tissue] += share * (anatomy.attenuation.ctpa - anatomy.attenuation.nct)[tissue]
    amount = canvas.mean(weights)
    inside = amount > 0
    hu[inside] += amount[inside] * smooth_field(canvas.centers[inside], fwhm, random)


def _table(values: dict[Tissue, float]) -> np.ndarray:
    table = np.zeros(LABELS, np.float32)
    for tissue, value in values.items():
        table[tissue] = value
    return table
