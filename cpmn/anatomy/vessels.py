"""Vessel by intensity: what a faint clot is most easily confused with."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from cpmn.config.train import Spacing
from cpmn.volume.voxels import smoothed_inside

BLOOD_HU = (15.0, 75.0)  # ours: unenhanced blood is 45-65 HU (domain facts); wider, as the patches are noisy
SOFT_HU = (-30.0, 130.0)  # ours: clot, blood and their noise; lung lies 900 HU below, and calcium above
SMOOTHING_VOXELS = 1.0  # ours: SD of the smoothing that takes single noisy voxels out
HILUM_MM = 15.0  # ours: gaps of the lungs up to twice as wide are closed, so the hilar vessels count and ribs do not
WALL_HU = 150.0  # ours: far more than noise, far less than blood stands above lung
OPACIFIED_HU = 150.0  # ours: contrast-filled vessel on CTPA; below 200 HU a pulmonary artery counts as suboptimal
DARKEST = 2  # ours: place among the 27 HU about a voxel, from the darkest; the very first would be noise


def blood_like(nct: np.ndarray) -> np.ndarray:
    """Soft tissue (z, y, x) of blood's HU on a slightly smoothed NCT, bool.

    Soft tissue alone is smoothed: with the lung around it, an artery of four voxels is no blood.
    """
    soft = (nct >= SOFT_HU[0]) & (nct <= SOFT_HU[1])
    smooth = smoothed_inside(nct, soft, SMOOTHING_VOXELS)
    return soft & (smooth >= BLOOD_HU[0]) & (smooth <= BLOOD_HU[1])


def lung_vessels(nct: np.ndarray, lung: np.ndarray, clot: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Blood-like voxels without clot inside the closed lungs, bool (z, y, x); by the NCT alone. `spacing` is (x, y, z).

    Closing the lungs by `HILUM_MM` takes in the vessels inside and at the hilum but not the chest wall.
    """
    blood = blood_like(nct) & (clot == 0)
    return blood & closed_lungs(lung, spacing) if lung.any() else blood


def opacified_vessels(ctpa: np.ndarray, lung: np.ndarray, clot: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Contrast-filled voxels without clot inside the closed lungs, bool (z, y, x). `spacing` is (x, y, z)."""
    blood = (ctpa >= OPACIFIED_HU) & (clot == 0)
    return blood & closed_lungs(lung, spacing) if lung.any() else blood


def closed_lungs(lung: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Lungs (z, y, x) with gaps up to twice `HILUM_MM` closed, bool. `spacing` is (x, y, z).

    They are padded first, since the border of a crop is no end of the chest wall.
    """
    steps = spacing[::-1]
    margin = [int(HILUM_MM // step) + 2 for step in steps]
    padded = np.pad(lung > 0, [(m, m) for m in margin])
    wide = np.asarray(ndimage.distance_transform_edt(~padded, sampling=steps)) <= HILUM_MM
    closed = padded | (np.asarray(ndimage.distance_transform_edt(wide, sampling=steps)) > HILUM_MM)
    return closed[tuple(slice(m, -m) for m in margin)]


def filled_share(hu: np.ndarray, vessel: np.ndarray) -> np.ndarray:
    """How much of each voxel a vessel fills (z, y, x), 0 to 1, float32.

    A voxel at the border of `vessel` (bool) lies between the blood there and its darkest neighbours, as partial volume
    is linear in HU. Where these are less than `WALL_HU` apart no wall is to be seen, and `vessel` is taken as it is; so
    it is where something brighter than blood lies there. A thin layer of soft tissue before the lung counts as vessel.
    """
    around = np.ones((3, 3, 3))
    inner = np.asarray(ndimage.binary_erosion(vessel, around, border_value=1), bool)
    border = np.asarray(ndimage.binary_dilation(vessel, around), bool) & ~inner
    blood = smoothed_inside(hu, vessel, SMOOTHING_VOXELS)[border]
    neighbours = sliding_window_view(np.pad(hu, 1, "symmetric"), (3, 3, 3))[border].reshape(-1, 27)
    wall = blood - np.partition(neighbours, DARKEST, axis=1)[:, DARKEST]
    share = np.clip(1 - (blood - hu[border]) / np.maximum(wall, WALL_HU), 0, 1)
    filled = vessel.astype(np.float32)
    between = (wall >= WALL_HU) & (hu[border] < blood + WALL_HU)
    filled[border] = np.where(between, share, vessel[border])
    return filled
