"""Lungs and box where chests are not as in textbooks: phantom arrays edited, and every real chest."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.lungbox import find_box, find_lungs
from cpmn.anatomy.lungs import segment_lungs
from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import CpmnError, MachineError
from cpmn.volume.box import Box
from cpmn.volume.images import image_like, read_image, voxel_ml

DICE = 0.95


def dice(mask: sitk.Image, truth: np.ndarray) -> float:
    found = sitk.GetArrayFromImage(mask) > 0
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def share_inside(box: Box, image: sitk.Image, points) -> float:
    """Share of points (n, 3), LPS in mm, inside the box."""
    places = np.array([image.TransformPhysicalPointToContinuousIndex([float(c) for c in point]) for point in points])
    return float(((places >= box.start) & (places <= np.add(box.start, box.size) - 1)).all(axis=1).mean())


class Lungs:
    """The phantom's HU to be edited, its true lungs, each lung by itself, and coordinates in mm."""

    def __init__(self, phantom):
        self.hu = sitk.GetArrayFromImage(phantom.image).astype(np.int16)
        self.truth = phantom.lungs.copy()
        z, y, x = np.indices(self.hu.shape)
        axes = zip((x, y, z), phantom.image.GetSpacing(), phantom.image.GetOrigin(), strict=True)
        self.x, self.y, self.z = (index * spacing + origin for index, spacing, origin in axes)
        self.right, self.left = self.truth & (self.x < 0), self.truth & (self.x > 0)

    def fill(self, mask: np.ndarray, hu: float) -> None:
        """Dense lung, with noise; it counts as lung no more."""
        self.hu[mask] = hu + np.random.default_rng(0).normal(0, 12, int(mask.sum()))
        self.truth &= ~mask


def plain(lungs: Lungs):
    """Nothing wrong."""


def effusion(lungs: Lungs):
    """The back third of the right lung is water: the patient lies on it."""
    lungs.fill(lungs.right & (lungs.y > np.percentile(lungs.y[lungs.right], 65)), 12)


def consolidation(lungs: Lungs):
    lungs.fill(lungs.left & (lungs.z < np.percentile(lungs.z[lungs.left], 40)), 35)


def right_lung_airless(lungs: Lungs):
    """Collapse or a full effusion: the lung that is left must not decide alone where the box ends."""
    lungs.fill(lungs.right, 30)


def left_lung_airless(lungs: Lungs):
    lungs.fill(lungs.left, 30)


def pneumothorax(lungs: Lungs):
    """A collapsed right lung at its hilum, gas around it: the chest cavity counts as lung."""
    inside = lungs.right
    centre = [lungs.x[inside].max() - 25, lungs.y[inside].mean(), lungs.z[inside].mean()]
    parts = zip((lungs.x, lungs.y, lungs.z), centre, (30, 35, 50), strict=True)
    core = np.sum([((axis - c) / radius) ** 2 for axis, c, radius in parts], axis=0) < 1
    lungs.hu[inside] = np.where(core, -300, -1000)[inside]


def severe_emphysema(lungs: Lungs):
    """Half of the lung below -950 HU, the usual mark of emphysema."""
    lungs.hu[lungs.truth & (lungs.hu < -500)] -= 90


DIFFICULT = [plain, effusion, consolidation, right_lung_airless, left_lung_airless, pneumothorax, severe_emphysema]


@pytest.mark.parametrize("difficulty", DIFFICULT)
def test_lungs_and_centre_of_the_nct(phantoms, difficulty):
    check(phantoms["nct"], difficulty)


@pytest.mark.parametrize("difficulty", [plain, right_lung_airless])
def test_lungs_and_centre_of_the_ctpa(phantoms, difficulty):
    check(phantoms["ctpa"], difficulty)


def check(phantom, difficulty) -> None:
    lungs = Lungs(phantom)
    difficulty(lungs)
    image = image_like(lungs.hu, phantom.image)
    box, mask, mirrored = find_box(image, CropConfig())
    assert dice(mask, lungs.truth) > DICE
    assert share_inside(box, image, phantom.center) == 1  # trunk and both main arteries, to the hila
    assert mirrored == difficulty.__name__.endswith("airless")


CUTS = {
    "right side": np.s_[25:, :, :],
    "front": np.s_[:, 12:, :],
    "apex and base": np.s_[:, :, 20:55],
    "all sides": np.s_[15:115, 12:85, 5:70],
}


@pytest.mark.parametrize("cut", CUTS)
def test_cropped_field_of_view(phantoms, cut):
    x, y, z = CUTS[cut]
    phantom = phantoms["nct"]
    assert dice(segment_lungs(phantom.image[x, y, z]), phantom.lungs[z, y, x]) > DICE


def test_thick_slices(phantoms):
    """Of 10.5 mm."""
    image = sitk.Cast(sitk.BinShrink(phantoms["nct"].image, [1, 1, 3]), sitk.sitkInt16)
    truth = sitk.BinShrink(sitk.GetImageFromArray(phantoms["nct"].lungs.astype(np.float32)), [1, 1, 3])
    assert dice(segment_lungs(image), sitk.GetArrayFromImage(truth) > 0.5) > DICE


def test_arms_down_on_a_table(phantoms):
    """The field of view holds both arms, their bones, and a table of foam in a shell that reaches its sides."""
    phantom = phantoms["nct"]
    wide = sitk.ConstantPad(phantom.image, [40, 0, 0], [40, 25, 0], -1000)
    hu = sitk.GetArrayFromImage(wide)
    _, y, x = np.indices(hu.shape)
    for arm in (18, wide.GetSize()[0] - 18):
        for radius, value in ((16, 50), (4, 900), (2, 150)):
            hu[(x - arm) ** 2 + (y - 50) ** 2 < radius**2] = value
    hu[:, 97:108] = np.where(hu[:, 97:108] < -900, -880, hu[:, 97:108])
    hu[:, [96, 108]] = 150
    truth = np.pad(phantom.lungs, ((0, 0), (0, 25), (40, 40)))
    assert dice(segment_lungs(image_like(hu, wide)), truth) > DICE


# Read off the pictures, to 10 mm: pulmonary trunk, right hilum, left hilum; mm, LPS.
CENTRES = {
    "lung_pet_ct_dx/A0001": [(30, 105, -249), (-25, 135, -249), (45, 150, -249)],
    "lung_pet_ct_dx/A0002": [(20, -165, 216), (-45, -110, 216), (40, -115, 216)],
    "cip/ct-64Dicom": [(12, -165, -169), (-35, -140, -169), (35, -140, -169)],
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", CENTRES)
def test_centre_of_real_chests(real_data, name):
    nct = read_scan(real_data / name, patient="p", phase="nct", series_uid="", config=ConvertConfig())[0]
    box, _, mirrored = find_box(nct, CropConfig())
    assert share_inside(box, nct, CENTRES[name]) == 1
    assert not mirrored


@pytest.mark.real_data
def test_a_child_s_chest_has_lungs(real_data):
    """An adult's chest at 0.42 of its size: 445 mL of lung."""
    nct = read_scan(
        real_data / "lung_pet_ct_dx/A0001", patient="p", phase="nct", series_uid="", config=ConvertConfig()
    )[0]
    nct.SetSpacing([0.42 * mm for mm in nct.GetSpacing()])
    lungs = find_lungs(nct, CropConfig())
    assert 400 < np.count_nonzero(sitk.GetArrayViewFromImage(lungs)) * voxel_ml(lungs) < 500
    find_box(nct, CropConfig())


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["3DCT_lung", "3DCT_lung_baseline_small"])
def test_half_a_chest_against_its_mask(real_data, name):
    folder = real_data / "hemithorax_pair"
    image, mask = (read_image(folder / f"{file}.mha") for file in (name, "3DCT_lung_baseline_mask"))
    truth = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert dice(segment_lungs(image), sitk.GetArrayFromImage(truth) > 0) > 0.98  # 0.985 when written


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["gantry_tilt", "uneven_increment", "variable_spacing_head"])
def test_heads_have_no_lungs(real_data, name):
    config = ConvertConfig(minimum_slices=4, uneven_spacing="resample")
    folder = real_data / "odd_dicom" / name
    head = read_scan(folder, patient="p", phase="nct", series_uid="", config=config)[0]
    with pytest.raises(CpmnError, match=r"no lungs found: \d+ mL of lung, at least 300 mL are expected"):
        find_box(head, CropConfig())


@pytest.mark.parametrize("package", ["lungmask", "totalsegmentator"])
def test_a_package_that_is_not_installed(phantoms, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MachineError, match=f"crop.lungs is '{package}', but the package {package} is not installed"):
        find_lungs(phantoms["nct"].image, CropConfig.model_validate({"lungs": package}))


def test_lungmask_is_asked(phantoms, monkeypatch):
    """A stand-in for the package: it labels the right lung 1 and the left 2, as lungmask does."""
    lungs = Lungs(phantoms["nct"])
    labels = lungs.right * 1 + lungs.left * 2
    package = SimpleNamespace(LMInferer=lambda: SimpleNamespace(apply=lambda image: labels))
    monkeypatch.setitem(sys.modules, "lungmask", package)
    mask = find_lungs(phantoms["nct"].image, CropConfig(lungs="lungmask"))
    assert np.array_equal(sitk.GetArrayFromImage(mask), labels > 0)
    with pytest.raises(CpmnError, match="no lungs found"):
        find_lungs(phantoms["nct"].image, CropConfig(lungs="lungmask", minimum_lung_ml=9000))


def test_totalsegmentator_is_asked(phantoms, monkeypatch):
    """A stand-in for the package: it reads the file and writes one that labels the five lobes."""
    lungs = Lungs(phantoms["nct"])

    def segment(source, target, *, ml, roi_subset, quiet):
        assert ml
        assert quiet
        assert len(roi_subset) == 5
        image = read_image(source)
        assert np.array_equal(sitk.GetArrayFromImage(image), lungs.hu)
        sitk.WriteImage(image_like(lungs.truth.astype(np.uint8) * 13, image), str(target))

    monkeypatch.setitem(sys.modules, "totalsegmentator", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "totalsegmentator.python_api", SimpleNamespace(totalsegmentator=segment))
    mask = find_lungs(phantoms["nct"].image, CropConfig(lungs="totalsegmentator"))
    assert np.array_equal(sitk.GetArrayFromImage(mask), lungs.truth)
