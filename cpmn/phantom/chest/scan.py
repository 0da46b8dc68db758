"""The two phases of a pair: contrast medium and emboli are added to the chest, and the NCT shows it through the motion.

As in the built-in phantom the reference space is that of the CTPA: NCT point x shows CTPA point x + u(x).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cpmn.phantom.chest.emboli import ChestClot
from cpmn.phantom.chest.noise import noise_sd
from cpmn.phantom.chest.source import Chest
from cpmn.phantom.motion import Motion
from cpmn.phantom.render import Grid
from cpmn.phantom.scan import HIGHEST_HU, LOWEST_HU, Phase, clot_labels

ARTERY_HU = (250.0, 500.0)  # opacified, as in the built-in phantom
VEIN_SHARE, POOL_SHARE = (0.65, 0.9), (0.55, 0.8)  # of the arteries' enhancement; our choice
NOISE_GAIN = (1.1, 1.4)  # noise of each phase relative to the real scan's; our choice: at least what was there
LEAST_ADDED = 0.3  # of the scan's noise, so that no two pairs share theirs


@dataclass(frozen=True)
class ChestScan:
    """One phase: `hu` (z, y, x) int16 on `grid`, `clots` (z, y, x) uint8 with clot ids, `clot_ml` their volumes."""

    phase: Phase
    grid: Grid
    hu: np.ndarray
    clots: np.ndarray
    clot_ml: dict[int, float]


def scan_ctpa(
    chest: Chest, clots: list[ChestClot], random: np.random.Generator, noise: np.random.Generator
) -> ChestScan:
    """The chest as it is, with opacified vessels and filling defects, on its own grid.

    `random` draws how much each vessel is enhanced.
    """
    artery = random.uniform(*ARTERY_HU) - chest.vessels.blood_hu
    shares = _shares(chest, clots)
    free = chest.vessels.artery - np.sum(list(shares.values()), axis=0) if shares else chest.vessels.artery
    hu = chest.hu + artery * np.maximum(free, 0)
    hu += artery * random.uniform(*VEIN_SHARE) * chest.vessels.vein
    pool = np.asarray(ndimage.uniform_filter(chest.vessels.pool.astype(np.float32), (1, 3, 3)))  # pyright: ignore[reportArgumentType]
    hu += artery * random.uniform(*POOL_SHARE) * pool
    for clot in clots:
        hu[tuple(clot.voxels.T)] += (clot.ctpa_hu - chest.vessels.blood_hu) * clot.share
    return _scan(chest, "ctpa", hu, shares, random, noise)


def scan_nct(
    chest: Chest, clots: list[ChestClot], motion: Motion, random: np.random.Generator, noise: np.random.Generator
) -> ChestScan:
    """The chest seen through the motion, with clots that differ from blood by their contrast alone.

    Lung keeps its mass: where the motion stretches it, it is darker (as in the built-in phantom).
    """
    shares = _shares(chest, clots)
    hu = chest.hu.copy()
    for clot in clots:
        hu[tuple(clot.voxels.T)] += clot.over_blood_hu * clot.share
    x, y, z = (axis.astype(np.float32) for axis in chest.grid.axes())
    grid = x[None, None, :], y[None, :, None], z[:, None, None]
    where = _indices(chest, motion.displacement(*grid))
    moved = ndimage.map_coordinates(hu, where, order=3, mode="nearest")
    tissue = _tissue(chest)
    density = np.linalg.det(motion.jacobian(*grid)).astype(np.float32)
    lung = ndimage.map_coordinates((chest.lungs & (tissue < 0.2)).astype(np.float32), where, order=1, mode="nearest")
    moved += lung * (moved + 1000) * (density - 1)
    seen = {key: ndimage.map_coordinates(share, where, order=1, mode="constant") for key, share in shares.items()}
    return _scan(chest, "nct", moved, seen, random, noise)


def _scan(
    chest: Chest,
    phase: Phase,
    clean: np.ndarray,
    shares: dict[int, np.ndarray],
    random: np.random.Generator,
    noise: np.random.Generator,
) -> ChestScan:
    wanted, had = chest.texture.sd * random.uniform(*NOISE_GAIN), noise_sd(clean if phase == "nct" else chest.hu)
    added = np.sqrt(max(wanted**2 - had**2, (LEAST_ADDED * chest.texture.sd) ** 2))
    noisy = clean + chest.texture.draw(clean.shape, float(added), noise)
    hu = np.clip(np.rint(noisy), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    volumes = {key: float(share.sum(dtype=np.float64)) * chest.grid.voxel_ml for key, share in shares.items()}
    return ChestScan(phase, chest.grid, hu, clot_labels(shares, clean.shape), volumes)


def _shares(chest: Chest, clots: list[ChestClot]) -> dict[int, np.ndarray]:
    shares = {}
    for clot in clots:
        shares[clot.clot_id] = np.zeros(chest.hu.shape, np.float32)
        shares[clot.clot_id][tuple(clot.voxels.T)] = clot.share
    return shares


def _tissue(chest: Chest) -> np.ndarray:
    return np.maximum(chest.vessels.artery, chest.vessels.vein)


def _indices(chest: Chest, displacement: np.ndarray) -> np.ndarray:
    """Voxel coordinates (3, z, y, x) in the chest of what each NCT voxel shows."""
    where = np.indices(chest.hu.shape, np.float32)
    for axis, step in zip((2, 1, 0), chest.grid.spacing, strict=True):
        where[axis] += displacement[..., 2 - axis] / np.float32(step)
    return where
