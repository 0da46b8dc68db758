"""A small computed chest with one artery and one vein in two lungs."""

from collections.abc import Callable

import numpy as np
import pytest

from cpmn.phantom.chest.noise import Texture
from cpmn.phantom.chest.source import Chest
from cpmn.phantom.chest.vasculature import Vessels
from cpmn.phantom.render import Grid

SHAPE, SPACING = (24, 48, 64), (4.0, 4.0, 6.0)
BLOOD, LUNG = 40.0, -850.0


def tube(center: tuple[int, int], radius: float, levels: slice) -> np.ndarray:
    """Vertical tube (z, y, x) bool round (y, x), radius in voxels."""
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    disc = (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2
    result = np.zeros(SHAPE, bool)
    result[levels] = disc
    return result


@pytest.fixture(name="tube")
def tube_fixture() -> Callable[[tuple[int, int], float, slice], np.ndarray]:
    return tube


@pytest.fixture
def chest() -> Chest:
    lungs = np.zeros(SHAPE, bool)
    lungs[2:22, 8:40, 6:28] = lungs[2:22, 8:40, 36:58] = True
    artery, vein = tube((24, 16), 2.5, slice(4, 20)), tube((24, 46), 2.5, slice(4, 20))
    central = tube((20, 32), 3.5, slice(6, 18))
    hu = np.where(lungs & ~artery & ~vein, LUNG, BLOOD).astype(np.float32)
    hu += np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)
    vessels = Vessels(
        artery=(artery | central).astype(np.float32),
        vein=vein.astype(np.float32),
        central=central,
        pool=np.zeros(SHAPE, bool),
        blood_hu=BLOOD,
    )
    grid = Grid((64, 48, 24), SPACING, (-126.0, -94.0, -69.0))
    points = np.argwhere(lungs)[::20][:, ::-1] * SPACING + np.array(grid.origin)
    texture = Texture(5.0, np.linspace(0, 0.7, 10), np.ones(10))
    return Chest("chest1", hu, grid, lungs, vessels, texture, np.ones(3), points, {})
