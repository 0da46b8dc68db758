"""Scanning a pair: what emboli change, where they end up, and the noise."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter

from cpmn.errors import CpmnError
from cpmn.phantom.chest.emboli import draw_chest_emboli
from cpmn.phantom.chest.noise import measure_texture
from cpmn.phantom.chest.scan import scan_ctpa, scan_nct
from cpmn.phantom.motion import draw_motion


def streams(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    return np.random.default_rng(seed), np.random.default_rng(seed + 1)


@pytest.fixture
def clots(chest):
    return draw_chest_emboli(chest.vessels, chest.grid.spacing, "learnable", *streams(5))


@pytest.fixture
def motion(chest):
    return draw_motion(np.random.default_rng(9), chest.scale, chest.points)


def test_nct_differs_from_its_twin_at_the_clots_alone(chest, clots, motion):
    scan, twin = (scan_nct(chest, given, motion, *streams(1)) for given in (clots, []))
    difference = scan.hu.astype(int) - twin.hu
    assert np.median(difference[scan.clots > 0]) == pytest.approx(25, abs=12)
    near = binary_dilation(scan.clots > 0, np.ones((7, 7, 7)))  # the spline that moves the scan reaches a few voxels
    assert np.abs(difference[np.logical_not(near)]).max() <= 4
    assert not twin.clots.any()


def test_ctpa_has_filling_defects_in_opacified_arteries(chest, clots):
    scan = scan_ctpa(chest, clots, *streams(1))
    free = (chest.vessels.artery > 0.99) & (scan.clots == 0)
    assert scan.hu[free].mean() > 200
    assert scan.hu[scan.clots > 0].mean() < 110
    assert set(np.unique(scan.clots)) == {0, *(clot.clot_id for clot in clots)}


def test_clots_follow_the_motion(chest, clots, motion):
    """NCT point x shows CTPA point x + u(x): each clot's centre, carried over, lies on the CTPA's clot."""
    nct, ctpa = scan_nct(chest, clots, motion, *streams(1)), scan_ctpa(chest, clots, *streams(2))
    moved = []
    for clot in clots:
        centers = [
            np.argwhere(scan.clots == clot.clot_id).mean(axis=0)[::-1] * chest.grid.spacing + chest.grid.origin
            for scan in (nct, ctpa)
        ]
        np.testing.assert_allclose(motion.to_ctpa(centers[0]), centers[1], atol=4.0)  # a voxel is 4 x 4 x 6 mm
        moved.append(np.linalg.norm(centers[0] - centers[1]))
    assert max(moved) > 5  # or the test would pass without any motion


def test_texture_is_measured_as_drawn():
    """White noise smoothed in the plane: the measured one has its size, and the spectrum falls as it should."""
    random, shape = np.random.default_rng(0), (12, 96, 96)
    smooth = gaussian_filter(random.standard_normal(shape), (0, 1.0, 1.0), mode="wrap")
    found = measure_texture(40 + 12 * smooth / smooth.std())
    assert 0.75 * 12 < found.sd < 12  # the smoothest patches, less a plane: 16 % low when written
    again = found.draw(shape, 12.0, random)
    assert again.std() == pytest.approx(12, rel=0.02)
    power = [np.abs(np.fft.rfft2(field)).mean(axis=0) for field in (smooth / smooth.std() * 12, again)]
    low, high = power[0][:, 2:10].mean(), power[0][:, 30:].mean()
    assert power[1][:, 2:10].mean() == pytest.approx(low, rel=0.25)
    assert high < 0.2 * low
    assert power[1][:, 30:].mean() < 0.3 * low


def test_a_scan_without_even_soft_tissue_is_too_noisy():
    noisy = np.random.default_rng(0).normal(40, 100, (12, 96, 96))
    with pytest.raises(CpmnError, match=r"the scan is too noisy: .* softer kernel, or choose a larger --shrink"):
        measure_texture(noisy)
