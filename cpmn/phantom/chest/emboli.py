"""Emboli in the arteries of a real chest: grown voxel by voxel to volumes drawn as the built-in phantom draws them."""

from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from cpmn.phantom.chest.vasculature import Vessels
from cpmn.phantom.difficulty import draw_contrasts
from cpmn.phantom.emboli import CTPA_HU, draw_volumes

LUMEN = 0.35  # a voxel with at least this share of artery belongs to the lumen; our choice
CENTRAL_ML = 0.8  # larger clots lie in central arteries, whose lumens hold them; our choice
WALL_MM = 2.5  # central clots keep this far from the wall, so that contrast flows round them; our choice
CLEARANCE_MM = 6.0  # between two clots, as in the built-in phantom
TRIES = 40
MOST_OF = 0.6  # a vessel that holds at least this share of the volume asked for takes the clot; our choice


@dataclass(frozen=True)
class ChestClot:
    """One embolus: the voxels (n, 3) as (z, y, x) that it lies in, with its share of each (n,)."""

    clot_id: int
    place: str
    voxels: np.ndarray
    share: np.ndarray
    over_blood_hu: float
    ctpa_hu: float


def draw_chest_emboli(
    vessels: Vessels,
    spacing: tuple[float, ...],
    difficulty: str,
    random: np.random.Generator,
    contrast: np.random.Generator,
) -> list[ChestClot]:
    """Clots of one PE pair, ids from 1, the largest first; a volume that finds no place is left out.

    Number, volumes and contrasts come from the built-in phantom's distributions. In the lungs a clot fills the
    artery; in the central arteries it floats in the lumen.
    """
    steps = np.array(spacing[::-1])
    regions = {"central": _central_lumen(vessels, spacing), "peripheral": (vessels.artery >= LUMEN) & ~vessels.central}
    labels = {place: cc3d.connected_components(region, connectivity=26) for place, region in regions.items()}
    voxels = {place: np.argwhere(found) for place, found in labels.items()}
    volumes = draw_volumes(random)
    clots: list[ChestClot] = []
    for volume, (_, over) in zip(volumes, draw_contrasts(difficulty, len(volumes), contrast), strict=True):
        place = "central" if volume > CENTRAL_ML and len(voxels["central"]) else "peripheral"
        taken = [cKDTree(clot.voxels * steps) for clot in clots]
        grown = _place(voxels[place], labels[place], vessels.artery, volume, steps, taken, random)
        if grown is not None:
            mean, sd, low, high = CTPA_HU["acute"]
            ctpa = float(np.clip(random.normal(mean, sd), low, high))
            share = vessels.artery[tuple(grown.T)]
            clots.append(ChestClot(len(clots) + 1, place, grown, share, over, ctpa))
    return clots


def _central_lumen(vessels: Vessels, spacing: tuple[float, ...]) -> np.ndarray:
    depth = [ndimage.distance_transform_edt(one, sampling=spacing[1::-1]) for one in vessels.central]
    return np.array(depth, np.float32) > WALL_MM


def _place(
    voxels: np.ndarray,
    labels: np.ndarray,
    artery: np.ndarray,
    volume_ml: float,
    steps: np.ndarray,
    taken: list[cKDTree],
    random: np.random.Generator,
) -> np.ndarray | None:
    """Voxels (n, 3) of a clot of the volume round a random voxel of the lumen, away from the clots before it."""
    for _ in range(min(TRIES, len(voxels))):
        center = voxels[random.integers(len(voxels))]
        grown = _grown(center, voxels, labels, artery, volume_ml, steps)
        if grown is not None and all(tree.query(grown * steps)[0].min() > CLEARANCE_MM for tree in taken):
            return grown
    return None


def _grown(
    center: np.ndarray,
    voxels: np.ndarray,
    labels: np.ndarray,
    artery: np.ndarray,
    volume_ml: float,
    steps: np.ndarray,
) -> np.ndarray | None:
    """The voxels of the centre's vessel nearest to it that hold the volume; None if the vessel is too small."""
    vessel = voxels[labels[tuple(voxels.T)] == labels[tuple(center)]]
    order = np.argsort(np.linalg.norm((vessel - center) * steps, axis=1), kind="stable")
    filled = np.cumsum(artery[tuple(vessel[order].T)]) * np.prod(steps) / 1000
    if filled[-1] < MOST_OF * volume_ml:
        return None
    return vessel[order[: int(np.searchsorted(filled, volume_ml)) + 1]]
