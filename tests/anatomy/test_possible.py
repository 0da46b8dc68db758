"""Where an embolus can be, in a drawn chest: body, lungs, spine with marrow, and fat between the lungs; 4 mm voxels."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.possible import cavity, possible

Z, Y, X = np.indices((20, 60, 80))
RIGHT, LEFT = (((X - x) / 12) ** 2 + ((Y - 30) / 18) ** 2 < 1 for x in (22, 58))
MIDDLE = (10, 30, 40)  # between the lungs
MARROW, CORTEX = (10, 46, 40), (10, 43, 40)  # between their backs
WALL, BACK = (10, 6, 40), (10, 56, 40)


def chest():
    hu = np.where(((X - 40) / 38) ** 2 + ((Y - 30) / 29) ** 2 < 1, 50, -1000)
    hu[(abs(X - 40) <= 4) & (abs(Y - 46) <= 3)] = 400
    hu[(abs(X - 40) <= 3) & (abs(Y - 46) <= 2)] = 110  # marrow is no denser than an old clot
    hu[(abs(X - 40) <= 3) & (abs(Y - 20) <= 2)] = -100
    hu[RIGHT | LEFT] = -850
    return hu


def allowed(hu, lungs):
    nct, mask = sitk.GetImageFromArray(hu.astype(np.int16)), sitk.GetImageFromArray(lungs.astype(np.uint8))
    for image in (nct, mask):
        image.SetSpacing((4.0, 4.0, 5.0))
    return possible(nct, mask)


def test_lungs_and_what_lies_between_them_are_possible():
    found = allowed(chest(), RIGHT | LEFT)
    assert found[RIGHT | LEFT].all()
    assert found[MIDDLE]


@pytest.mark.parametrize("place", [WALL, BACK, CORTEX, MARROW, (10, 20, 40), (10, 1, 1)])
def test_wall_back_bone_marrow_fat_and_air_are_not(place):
    assert not allowed(chest(), RIGHT | LEFT)[place]


def test_a_vessel_in_lung_or_beside_fat_is_possible():
    hu = chest()
    hu[:, 30, 58] = -200  # a small one, mixed with air
    hu[:, 24:27, 38:43] = 60
    found = allowed(hu, RIGHT | LEFT)
    assert found[:, 30, 58].all()
    assert found[:, 25, 39:42].all()


@pytest.mark.parametrize("dense", [RIGHT, LEFT, RIGHT & (Y > 36), (RIGHT | LEFT) & (Z < 6)])
def test_dense_lung_that_the_mask_lacks_stays_possible(dense):
    """One airless lung, an effusion, dense bases."""
    hu = np.where(dense, 45, chest())
    assert allowed(hu, (RIGHT | LEFT) & ~dense)[dense].mean() > 0.98


def test_calcium_takes_nothing_away_around_it():
    hu = chest()
    hu[10, 30, 40] = 900
    found = allowed(hu, RIGHT | LEFT)
    assert not found[10, 30, 40]
    assert found[10, 30, 42]
    assert found[12, 30, 40]


def test_without_lungs_only_bone_and_fat_are_left_out():
    found = allowed(chest(), np.zeros_like(RIGHT))
    assert found[WALL]
    assert not found[MARROW]


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0, 3.0])
def test_no_lung_is_left_out_at_fine_spacing(shift):
    """Blocks of 6 voxels, 4.2 mm: their first voxels alone would move the hull by half a block."""
    _, y, x = np.mgrid[:4, :300, :400] * 0.7
    x, y = x + shift * 0.7 - 140, y - 105
    lungs = ((abs(x) - 68) / 48) ** 2 + (y / 64) ** 2 < 1
    hu = np.where(lungs, -850.0, np.where((x / 138) ** 2 + (y / 100) ** 2 < 1, 40.0, -1000.0))
    assert cavity(hu, lungs, (0.7, 0.7, 5.0))[lungs].all()
