import numpy as np
import pytest
from scipy import ndimage

from cpmn.anatomy.vessels import OPACIFIED_HU, blood_like, filled_share

FINE = 8  # samples of a voxel along each axis


def tube(radius: float, around: float, blood: float) -> tuple[np.ndarray, np.ndarray]:
    """A tube along z: HU (z, y, x) and how much of each voxel it fills, by sampling. `radius` is in voxels."""
    axis = (np.arange(24 * FINE) + 0.5) / FINE - 12.3
    inside = axis[:, None] ** 2 + axis[None] ** 2 <= radius**2
    filled = np.broadcast_to(inside.reshape(24, FINE, 24, FINE).mean((1, 3)), (6, 24, 24))
    return around + (blood - around) * filled, filled


@pytest.mark.parametrize("radius", [2.0, 3.4, 6.0])
@pytest.mark.parametrize(("around", "noise"), [(-850.0, 0.0), (-850.0, 20.0), (40.0, 0.0), (40.0, 20.0)])
def test_walls_hold_as_much_vessel_as_they_do(radius, around, noise):
    """On CTPA, in lung and in soft tissue."""
    hu, filled = tube(radius, around, 350)
    hu = hu + np.random.default_rng(0).normal(0, noise, hu.shape)
    share = filled_share(hu, hu >= OPACIFIED_HU)
    rim = (filled > 0) & (filled < 1)
    assert np.abs(share - filled)[rim].mean() < 0.15
    assert share[~np.asarray(ndimage.binary_dilation(filled > 0, iterations=2), bool)].max() == 0
    half = share >= 0.5
    assert 2 * (half & (filled >= 0.5)).sum() / (half.sum() + (filled >= 0.5).sum()) > 0.95


def test_blood_on_the_nct_has_its_wall_too():
    hu, filled = tube(3.4, -850, 45)
    assert np.mean(blood_like(hu)[filled >= 0.5]) < 0.85  # the wall's voxels are not of blood's HU
    assert np.mean(filled_share(hu, blood_like(hu))[filled >= 0.5] >= 0.5) > 0.97


def test_bone_beside_a_vessel_is_no_vessel():
    hu, _ = tube(3.4, -850, 45)
    hu[:, :, 16:] = 600
    share = filled_share(hu, blood_like(hu))
    assert not share[:, :, 16:].any()


def test_where_no_wall_is_seen_there_is_none():
    """Blood in muscle on the NCT."""
    hu, filled = tube(3.4, 60, 45)
    share = filled_share(hu, filled == 1)
    assert set(np.unique(share)) == {0, 1}
