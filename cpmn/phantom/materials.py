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
    LOWER_CAVA = 21
    ATELECTASIS = 22
    EFFUSION = 23
    NODE = 24
    NODULE = 25
    MUCUS = 26
    CALCIUM = 27
    FISSURE = 28
    CUFF = 29
    FILLING = 30


BLOOD = (
    Tissue.LEFT_HEART,
    Tissue.RIGHT_HEART,
    Tissue.AORTA,
    Tissue.CAVA,
    Tissue.LOWER_CAVA,
    Tissue.VEIN,
    Tissue.ARTERY,
    Tissue.FILLING,
)
"""FILLING is arterial blood that the contrast medium has not reached: on CTPA a defect that is no embolus."""
HAEMATOCRIT = (41.0, 6.5, 26.0, 55.0)  # mean, SD, lowest, highest in per cent; our choice for patients
PLASMA_HU, RED_CELLS_HU = 8.0, 1.04
"""Blood's HU is linear in the haematocrit; the two numbers are our choice, so that 26-55 % give 35-65 HU."""
POOR_SHARE, POOR_HU = 0.15, (120.0, 200.0)  # scans below 200 HU in the pulmonary artery are suboptimal; share: ours
LATE_SHARE = 0.15  # scans in which the veins are as bright as the arteries or brighter; our choice


@dataclass(frozen=True)
class Attenuation:
    """HU per label (LABELS,) in each phase. Lung is that of the CTPA; the NCT's follows from the motion."""

    nct: np.ndarray
    ctpa: np.ndarray


def draw_attenuation(random: np.random.Generator) -> Attenuation:
    """Draw a patient's tissues.

    Lung -850..-910 and somewhat denser in a shallow breath, fat -100..-50, muscle 50, trabecular bone 180, cortical
    bone 700, blood 35-65 unenhanced by the haematocrit, arteries 250-500 in CTPA, less in poorly timed ones: domain
    facts, section 4 (published, except the CTPA range: common knowledge). How much fainter the other enhanced chambers
    are is our choice (a scan timed to the pulmonary arteries).
    """
    nct = np.zeros(LABELS, np.float32)
    for tissue, value in _solid(random.uniform(-105, -85), random.uniform(-900, -835), random).items():
        nct[tissue] = value
    ctpa = nct.copy()
    nct[list(BLOOD)] = blood_hu(draw_haematocrit(random))
    _enhance(ctpa, float(nct[Tissue.ARTERY]), random)
    return Attenuation(nct, ctpa)


def draw_haematocrit(random: np.random.Generator) -> float:
    """Haematocrit in per cent."""
    mean, sd, low, high = HAEMATOCRIT
    return float(np.clip(random.normal(mean, sd), low, high))


def blood_hu(haematocrit: float) -> float:
    """Attenuation of unenhanced blood."""
    return PLASMA_HU + RED_CELLS_HU * haematocrit


def _enhance(ctpa: np.ndarray, blood: float, random: np.random.Generator) -> None:
    poor, late = random.random() < POOR_SHARE, random.random() < LATE_SHARE
    artery = random.uniform(*POOR_HU) if poor else random.uniform(250, 500)
    ctpa[Tissue.ARTERY], ctpa[Tissue.RIGHT_HEART] = artery, artery * random.uniform(0.9, 1.0)
    ctpa[Tissue.CAVA] = min(artery * random.uniform(1.0, 1.3), 600)
    ctpa[Tissue.LOWER_CAVA] = blood + random.uniform(10, 90)
    ctpa[Tissue.VEIN] = artery * (random.uniform(1.0, 1.25) if late else random.uniform(0.65, 0.9))
    ctpa[Tissue.LEFT_HEART] = ctpa[Tissue.VEIN] * random.uniform(0.9, 1.0)
    ctpa[Tissue.AORTA] = ctpa[Tissue.LEFT_HEART] * (random.uniform(0.95, 1.1) if late else random.uniform(0.75, 0.95))
    ctpa[Tissue.FILLING] = blood + (artery - blood) * random.uniform(0.2, 0.6)
    gains = {Tissue.MUSCLE: 8, Tissue.LIVER: 15, Tissue.MYOCARDIUM: 45, Tissue.ESOPHAGUS: 15, Tissue.NODE: 35}
    for tissue, gain in {**gains, Tissue.ATELECTASIS: 40, Tissue.NODULE: 20, Tissue.CUFF: 20}.items():
        ctpa[tissue] += gain


def _solid(fat: float, lung: float, random: np.random.Generator) -> dict[Tissue, float]:
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
        Tissue.ATELECTASIS: random.uniform(-350, 20),
        Tissue.EFFUSION: random.uniform(0, 20),
        Tissue.NODE: random.uniform(30, 50),
        Tissue.NODULE: random.uniform(-20, 60),
        Tissue.MUCUS: random.uniform(5, 35),
        Tissue.CALCIUM: random.uniform(250, 700),
        Tissue.FISSURE: random.uniform(-650, -350),
        Tissue.CUFF: random.uniform(15, 45),
    }
