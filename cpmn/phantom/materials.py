"""Tissues and their attenuation in the two phases."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

LABELS = 256
FIRST_CLOT = 100  # label of clot id 1 minus 1: clot k of a patient has label FIRST_CLOT + k


class Tissue(IntEnum):
    """Labels of the rendered anatomy; from FIRST_CLOT + 1 on, labels are clots."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    CORTICAL_BONE = 4
    SPONGY_BONE = 5
    DISC = 6
    CANAL = 7
    MEDIASTINUM = 8
    LIVER = 9
    LUNG = 10
    MYOCARDIUM = 11
    LEFT_HEART = 12
    RIGHT_HEART = 13
    AORTA = 14
    CAVA = 15
    ESOPHAGUS = 16
    AIRWAY_WALL = 17
    AIRWAY = 18
    VEIN = 19
    ARTERY = 20


@dataclass(frozen=True)
class Attenuation:
    """HU per label (LABELS,) in each phase. Lung is that of the CTPA; the NCT's follows from the motion."""

    nct: np.ndarray
    ctpa: np.ndarray


def draw_attenuation(random: np.random.Generator) -> Attenuation:
    """Draw a patient's tissues.

    Lung -850..-910, fat -100..-50, muscle 50, trabecular bone 180, cortical bone 700, blood 45-60 unenhanced, arteries
    250-500 in CTPA: domain facts, section 4 (published, except the CTPA range: common knowledge). How much fainter
    the other enhanced chambers are is our choice (a scan timed to the pulmonary arteries).
    """
    fat, blood, artery = random.uniform(-105, -85), random.uniform(45, 60), random.uniform(250, 500)
    nct = np.zeros(LABELS, np.float32)
    for tissue, value in _solid(fat, random.uniform(-905, -855)).items():
        nct[tissue] = value
    ctpa = nct.copy()
    nct[[Tissue.LEFT_HEART, Tissue.RIGHT_HEART, Tissue.AORTA, Tissue.CAVA, Tissue.VEIN, Tissue.ARTERY]] = blood
    ctpa[Tissue.ARTERY], ctpa[Tissue.RIGHT_HEART] = artery, artery * random.uniform(0.9, 1.0)
    ctpa[Tissue.CAVA] = min(artery * random.uniform(1.0, 1.3), 600)
    ctpa[Tissue.VEIN] = artery * random.uniform(0.65, 0.9)
    ctpa[Tissue.LEFT_HEART] = ctpa[Tissue.VEIN] * random.uniform(0.9, 1.0)
    ctpa[Tissue.AORTA] = ctpa[Tissue.LEFT_HEART] * random.uniform(0.75, 0.95)
    for tissue, gain in {Tissue.MUSCLE: 8, Tissue.LIVER: 15, Tissue.MYOCARDIUM: 45, Tissue.ESOPHAGUS: 15}.items():
        ctpa[tissue] += gain
    return Attenuation(nct, ctpa)


def _solid(fat: float, lung: float) -> dict[Tissue, float]:
    return {
        Tissue.AIR: -1000,
        Tissue.SKIN: 20,
        Tissue.FAT: fat,
        Tissue.MUSCLE: 50,
        Tissue.CORTICAL_BONE: 700,
        Tissue.SPONGY_BONE: 180,
        Tissue.DISC: 80,
        Tissue.CANAL: 20,
        Tissue.MEDIASTINUM: fat + 10,
        Tissue.LIVER: 55,
        Tissue.LUNG: lung,
        Tissue.MYOCARDIUM: 48,
        Tissue.ESOPHAGUS: 40,
        Tissue.AIRWAY_WALL: 20,
        Tissue.AIRWAY: -1000,
    }
