"""Streaks: what dense bone, shoulders, arms and concentrated contrast medium do to a reconstruction.

Drawn in the image instead of simulating projections, which would take minutes a patient: streaks are horizontal where
the way through bone is long, and radiate from a vein full of contrast medium. Sizes are our choice.
"""

import numpy as np

from cpmn.phantom.render import Grid

STREAK_HU = (1.5, 5.0)  # SD of the streaks where the way through bone is BONE_MM; per patient
BONE_MM = 60.0
ARMS_GAIN = 2.0  # more streaks with the arms beside the chest
SLOPES = (-0.18, -0.06, 0.06, 0.18)  # directions of the streaks: photons are scarce in nearly lateral views
VEIN_HU = (0.02, 0.07)  # largest beam hardening as a share of the vein's HU; per patient
VEIN_RAYS = 9
VEIN_REACH_MM = 40.0


def bone_streaks(bone: np.ndarray, grid: Grid, arms_down: bool, random: np.random.Generator) -> np.ndarray:
    """Streaks (z, y, x) in HU from the share of bone (z, y, x) in each voxel."""
    way = bone.sum(axis=2) * np.float32(grid.spacing[0])
    size = random.uniform(*STREAK_HU) * (ARMS_GAIN if arms_down else 1.0)
    amplitude = (size * np.expm1(way / BONE_MM) / np.expm1(1)).astype(np.float32) / np.float32(np.sqrt(len(SLOPES)))
    y, x = np.mgrid[: grid.size[1], : grid.size[0]]
    result = np.zeros(bone.shape, np.float32)
    for slope in SLOPES:
        rows = np.rint(y + slope * (x - grid.size[0] / 2) * grid.spacing[0] / grid.spacing[1]).astype(int)
        line = amplitude * random.standard_normal(amplitude.shape, np.float32)
        result += line[:, np.clip(rows, 0, grid.size[1] - 1)]
    return result


def vein_streaks(grid: Grid, vein: np.ndarray, hu: float, random: np.random.Generator) -> np.ndarray:
    """Dark and bright rays (z, y, x) in HU from the vein that carries the contrast medium.

    Parameters
    ----------
    vein : lower and upper end (2, 3) of the vein in mm; it is about vertical.
    hu : attenuation of the vein.
    """
    x, y, z = grid.axes()
    center = vein.mean(axis=0)
    away, angle = np.hypot(x - center[0], (y - center[1])[:, None]), np.arctan2((y - center[1])[:, None], x - center[0])
    rays = np.zeros_like(away)
    for direction in random.uniform(-np.pi, np.pi, VEIN_RAYS):
        turn = np.angle(np.exp(1j * (angle - direction)))
        rays += random.choice((-1.0, -1.0, 1.0)) * np.exp(-((turn / random.uniform(0.05, 0.15)) ** 2))
    pattern = rays * np.exp(-away / VEIN_REACH_MM) * (away > 8)
    beside = 1 / (1 + np.exp(-(z - vein[0, 2]) / 6))  # fades below the vein's end
    size = hu * random.uniform(*VEIN_HU) * beside * (1 + 0.3 * random.standard_normal(len(z)))
    return (size[:, None, None] * pattern[None]).astype(np.float32)
