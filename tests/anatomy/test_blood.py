"""The patient's own blood: known answers on drawn chests and phantoms, and what real chests say."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.blood import blood_hu, window_center
from cpmn.config.convert import ConvertConfig
from cpmn.config.phantom import PhantomConfig
from cpmn.dicom.scan import read_scan
from cpmn.phantom.anatomy import blood_and_tissue, build_anatomy
from cpmn.phantom.materials import Tissue
from cpmn.phantom.scan import grid_image, scan_phase
from cpmn.volume.images import image_like
from tests.anatomy.test_lungs import Chest

MUSCLE_HU = 48.0


def chest(blood: float) -> Chest:
    """Drawn chest with great vessels in fat above a heart whose muscle has another HU than the blood."""
    drawn = Chest()
    drawn.fill(drawn.tube(170, 130, 130, 95) & (drawn.hu == 30), -100)
    drawn.fill(drawn.tube(170, 90, 14, 14) & (drawn.z > 150), blood)
    drawn.fill(drawn.ball((170, 90, 120), (45, 45, 45)), MUSCLE_HU)
    return drawn


@pytest.mark.parametrize("blood", [35.0, 52.0, 65.0])
def test_great_vessels_of_a_drawn_chest(blood):
    assert blood_hu(chest(blood).image()) == pytest.approx(blood, abs=1.5)


def test_axes_of_the_image_do_not_matter():
    image = chest(58.0).image()
    turned = sitk.PermuteAxes(sitk.Flip(image, [True, False, True]), [2, 0, 1])
    assert blood_hu(turned) == blood_hu(image)


def test_calcified_walls_and_contrast_medium_in_a_vein_are_no_blood():
    drawn = chest(50.0)
    drawn.fill(drawn.tube(170, 90, 14, 14) & ~drawn.tube(170, 90, 11, 11) & (drawn.z > 220), 700)
    drawn.fill(drawn.tube(170, 120, 8, 8) & (drawn.z > 180), 400)
    assert blood_hu(drawn.image()) == pytest.approx(50.0, abs=2.0)


def test_phantoms_have_the_blood_that_was_drawn():
    config = PhantomConfig(nct_spacing=(3.0, 3.0, 4.0), seed=5)
    for name in ("phantom-001", "phantom-002"):
        anatomy = build_anatomy(config, name)
        scan = scan_phase(config, anatomy, "nct")
        drawn = float(anatomy.attenuation.nct[Tissue.ARTERY])
        assert drawn == blood_and_tissue(config, name).nct[Tissue.ARTERY]
        assert blood_hu(grid_image(scan.hu, scan.grid)) == pytest.approx(drawn, abs=4.0)  # blood varies by 3 to 5 HU


def test_without_lungs_or_vessels_the_fixed_centre_serves(caplog):
    nothing = sitk.GetImageFromArray(np.full((20, 30, 30), 40, np.int16))
    nothing.SetSpacing((5.0, 5.0, 5.0))
    emptied = chest(50.0)
    emptied.fill((emptied.hu > 0) & emptied.ball((170, 110, 200), (60, 90, 140)), -100)
    for image in (nothing, emptied.image()):
        assert blood_hu(image) is None
        caplog.clear()
        assert window_center(image, 45.0, by_blood=True) == 45.0
        assert "blood is taken to have 45 HU" in caplog.text


def test_the_centre_follows_the_blood_only_where_it_shall():
    image = chest(60.0).image()
    assert window_center(image, 45.0, by_blood=False) == 45.0
    assert window_center(image, 45.0, by_blood=True) == blood_hu(image)


def test_blood_follows_a_shift_of_the_whole_scan():
    image = chest(50.0).image()
    hu = sitk.GetArrayFromImage(image)
    shifted = image_like((hu + 7).astype(np.int16), image)
    assert blood_hu(shifted) == pytest.approx((blood_hu(image) or 0) + 7, abs=0.5)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("lung_pet_ct_dx/A0001", 30, 45), ("lung_pet_ct_dx/A0002", 30, 45), ("cip/ct-64Dicom", 35, 55)],
)
def test_real_blood_is_where_unenhanced_blood_is(real_data, name, low, high):
    image, _ = read_scan(real_data / name, patient="p1", phase="nct", series_uid="", config=ConvertConfig())
    assert low < (blood_hu(image) or 0) < high
