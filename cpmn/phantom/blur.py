"""Movement during the exposure: the beating heart and imperfect breath-holds.

Magnitudes are our choice: an ungated scan shows edges of the heart doubled by some mm, and a part of the patients
breathes. Each phase has its own.
"""

import numpy as np

from cpmn.phantom.motion import DIAPHRAGM_Z, Bell, Motion, Term

HEART = ((20.0, -30, -45), (62.0, 50, 60))  # centre and reach in mm of the heartbeat, canonical chest
HEARTBEAT_MM = (1.0, 4.0)  # from end to end at the heart's centre
BREATHING_SHARE = 0.3  # of the scans
BREATHING_MM = (1.5, 5.0)  # from end to end at the diaphragm


def draw_sway(scale: np.ndarray, random: np.random.Generator) -> Motion:
    """Movement from the beginning to the end of a scan's exposure, in mm, in the scanner's coordinates."""
    direction = random.normal(size=3)
    beat = random.uniform(*HEARTBEAT_MM) * direction / np.linalg.norm(direction)
    breathes, breath = random.random() < BREATHING_SHARE, random.uniform(*BREATHING_MM)
    bells = [Bell(float(c * s), float(w * s)) for c, w, s in zip(*HEART, scale, strict=True)]
    terms = [Term(tuple(beat), tuple(bells))]  # type: ignore[arg-type]
    if breathes:
        base = Bell(DIAPHRAGM_Z * scale[2], 55 * scale[2])
        terms.append(Term((0, 0.2 * breath, breath), (Bell(0, 140 * scale[0], 4), Bell(0, 100 * scale[1], 4), base)))
    return Motion(tuple(terms))
