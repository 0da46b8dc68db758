# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportArgumentType=false
# Every patient here has an NCT: a test that finds none fails by itself.
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.anatomy.artery_vein import ARTERY, VEIN
from cpmn.config.train import TrainConfig
from cpmn.errors import CpmnError
from cpmn.train.subjects import working_label
from cpmn.volume.grid import working_image
from cpmn.volume.images import image_like, read_image, write_image
from tests.anatomy.test_blood import chest
from tests.settings import train_config
from tests.train.conftest import loaded


def label_image(voxels: dict[tuple[int, int, int], int], shape=(12, 12, 12)) -> sitk.Image:
    array = np.zeros(shape, np.uint8)
    for index, clot in voxels.items():
        array[index] = clot
    return sitk.GetImageFromArray(array)


def test_cases_hold_what_the_crops_hold(crops, tmp_path):
    settings = {"crops": crops, "labels": {"p0": 1, "n0": 0}, "spacing": (3.0, 3.0, 4.0), "cache": tmp_path}
    pe, normal = loaded(["p0", "n0"], paired={"p0"}, **settings)
    nct = sitk.GetArrayFromImage(read_image(crops / "p0" / "nct.nii.gz"))
    assert np.array_equal(pe.nct, nct)
    assert pe.nct.dtype == np.int16
    assert pe.ctpa is not None
    assert normal.ctpa is None
    assert pe.embolus.sum() == len(pe.clot_voxels) == 64
    assert (pe.label, normal.label) == (1, 0)
    assert len(normal.clot_voxels) == 0
    assert all(pe.embolus[tuple(voxel)] for voxel in pe.clot_voxels)


def test_what_the_ctpa_does_not_reach_is_known_and_noise_in_air_is_not_taken_for_it(crops, tmp_path):
    for name, lowest in (("short", -1024), ("noisy", 40)):
        shutil.copytree(crops / "p0", tmp_path / name / "p0")
        nct = read_image(crops / "p0" / "nct.nii.gz")
        hu = np.full(nct.GetSize()[::-1], 40, np.int16)
        hu[: len(hu) // 2] = lowest
        hu[-1, ::3, ::3] = -1024  # air of a noisy scan, here and there
        write_image(image_like(hu, nct), tmp_path / name / "p0" / "ctpa.nii.gz")
    settings = {"labels": {"p0": 1}, "spacing": read_image(crops / "p0" / "nct.nii.gz").GetSpacing()}
    (short,) = loaded(["p0"], crops=tmp_path / "short", paired={"p0"}, cache=tmp_path / "1", **settings)
    half = len(short.nct) // 2
    assert short.reached is not None
    assert not short.reached[:half].any()
    assert short.reached[half:].all()
    (noisy,) = loaded(["p0"], crops=tmp_path / "noisy", paired={"p0"}, cache=tmp_path / "2", **settings)
    assert noisy.reached is None
    (alone,) = loaded(["p0"], crops=tmp_path / "short", paired=set(), cache=tmp_path / "3", **settings)
    assert alone.reached is None


def test_the_window_is_centred_on_the_blood_of_each_patient(tmp_path):
    for name, blood in (("pale", 38.0), ("rich", 62.0)):
        drawn = chest(blood)
        image = drawn.image(noise_hu=5.0)
        write_image(image, tmp_path / name / "nct.nii.gz")
        write_image(image_like(drawn.lungs.astype(np.uint8), image), tmp_path / name / "lung.nii.gz")
        write_image(image_like(np.zeros(drawn.hu.shape, np.uint8), image), tmp_path / name / "embolus.nii.gz")

    def centers(folder, **settings):
        subjects = loaded(
            ["pale", "rich"],
            crops=tmp_path,
            labels={"pale": 0, "rich": 0},
            paired=set(),
            spacing=(4.0, 4.0, 4.0),
            cache=tmp_path / folder,
            config=train_config(**settings),
        )
        return [subject.window_center for subject in subjects]

    assert centers("blood", blood_window=True) == pytest.approx([38.0, 62.0], abs=1.5)
    assert centers("fixed", window_center=47.0) == [47.0, 47.0]


def test_crops_are_read_once(crops, tmp_path):
    settings = {"labels": {"p0": 1}, "paired": {"p0"}, "spacing": (3.0, 3.0, 4.0), "cache": tmp_path}
    (first,) = loaded(["p0"], crops=crops, **settings)
    (again,) = loaded(["p0"], crops=tmp_path / "gone", **settings)
    assert np.array_equal(first.nct, again.nct)


@pytest.mark.parametrize("share", [0, 0.5])
def test_volumes_that_power_loss_damaged_are_made_again(crops, tmp_path, share):
    settings = {"labels": {"p0": 1}, "paired": {"p0"}, "spacing": (3.0, 3.0, 4.0), "cache": tmp_path}
    (first,) = loaded(["p0"], crops=crops, **settings)
    before, path = np.array(first.nct), tmp_path / "p0/nct.npy"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: int(share * len(content))])
    (again,) = loaded(["p0"], crops=crops, **settings)
    assert np.array_equal(again.nct, before)


def test_both_phases_share_the_working_grid(crops, tmp_path):
    (subject,) = loaded(["p0"], crops=crops, labels={"p0": 1}, paired={"p0"}, spacing=(2.0, 2.5, 6.0), cache=tmp_path)
    assert subject.ctpa is not None
    assert subject.nct.shape == subject.ctpa.shape == subject.embolus.shape == (11, 39, 48)
    assert 35 <= np.median(subject.nct[subject.embolus > 0]) <= 110


def test_image_on_another_grid(crops, tmp_path):
    for name in ("nct", "ctpa", "lung"):
        write_image(read_image(crops / "p0" / f"{name}.nii.gz"), tmp_path / "p0" / f"{name}.nii.gz")
    write_image(label_image({}), tmp_path / "p0" / "embolus.nii.gz")
    with pytest.raises(CpmnError, match=r"patient p0: embolus\.nii\.gz \(12x12x12 .* is not on the grid of nct"):
        loaded(["p0"], crops=tmp_path, labels={"p0": 1}, paired={"p0"}, spacing=(3, 3, 4), cache=tmp_path / "c")


def test_label_keeps_its_volume_when_voxels_shrink():
    block = label_image({(z, y, x): 1 for z in range(4, 8) for y in range(4, 8) for x in range(4, 8)})
    mask = working_label(block, (0.5, 0.5, 0.5))
    assert mask.sum() / 8 == pytest.approx(64, rel=0.3)
    assert mask[10:14, 10:14, 10:14].all()


def test_a_clot_that_would_vanish_keeps_one_voxel():
    small = label_image({(2, 2, 2): 1, (9, 9, 9): 7, (9, 9, 10): 7})
    mask = working_label(small, (3.0, 3.0, 3.0))
    assert mask.shape == (4, 4, 4)
    assert mask.sum() == 2
    assert mask[0, 0, 0] == mask[3, 3, 3] == 1


def test_label_grid_is_the_image_grid():
    label = label_image({(5, 5, 5): 1}, (7, 9, 11))
    for spacing in ((1.0, 1.0, 1.0), (0.7, 1.3, 2.0)):
        working = sitk.GetArrayFromImage(working_image(sitk.Cast(label, sitk.sitkFloat32), spacing))
        assert working_label(label, spacing).shape == working.shape


def test_volumes_stay_on_disk(crops, tmp_path):
    config = train_config(simulated_fraction=0.2, visibility_floor=0.5)
    settings = {"crops": crops, "labels": {"p0": 1}, "paired": {"p0"}, "spacing": (3.0, 3.0, 4.0)}
    (subject,) = loaded(["p0"], cache=tmp_path / "all", config=config, **settings)
    for array in (subject.nct, subject.ctpa, subject.embolus, subject.vessel_voxels, subject.visibility):
        assert isinstance(array, np.memmap)
    assert len(subject.vessel_voxels)
    assert subject.visibility is not None
    assert np.median(subject.visibility[subject.embolus > 0]) == 255  # 50 HU above blood
    (plain,) = loaded(["p0"], cache=tmp_path / "plain", config=TrainConfig(), **settings)
    assert len(plain.vessel_voxels) == 0
    assert plain.visibility is None


def test_vein_voxels_are_the_clot_free_veins_of_those_with_a_mask(crops, tmp_path):
    shutil.copytree(crops / "p0", tmp_path / "p0")
    nct, embolus = (read_image(crops / "p0" / f"{name}.nii.gz") for name in ("nct", "embolus"))
    clot = sitk.GetArrayFromImage(embolus) > 0
    vessels = np.where(clot, VEIN, 0).astype(np.uint8)  # a label carried over with an error reaches into a vein
    vessels[0, :2, :3], vessels[1, :2, :3] = ARTERY, VEIN
    write_image(image_like(vessels, nct), tmp_path / "p0" / "vessels.nii.gz")
    settings = {"crops": tmp_path, "labels": {"p0": 1}, "paired": {"p0"}, "spacing": (3.0, 3.0, 4.0)}
    (subject,) = loaded(["p0"], masked={"p0"}, cache=tmp_path / "veins", **settings)
    assert subject.vein_voxels.tolist() == [[1, y, x] for y in range(2) for x in range(3)]
    (plain,) = loaded(["p0"], cache=tmp_path / "plain", **settings)
    assert len(plain.vein_voxels) == 0


def test_elsewhere_is_the_rest_of_the_crop(crops, tmp_path):
    shutil.copytree(crops / "p0", tmp_path / "far" / "p0")
    lung = read_image(crops / "p0" / "lung.nii.gz")
    corner = np.zeros(lung.GetSize()[::-1], np.uint8)
    corner[0, 0, 0] = 1
    write_image(image_like(corner, lung), tmp_path / "far" / "p0" / "lung.nii.gz")
    settings = {"labels": {"p0": 1}, "paired": {"p0"}, "spacing": (3.0, 3.0, 4.0), "crops": tmp_path / "far"}
    (plain,) = loaded(["p0"], cache=tmp_path / "plain", **settings)
    (subject,) = loaded(["p0"], cache=tmp_path / "more", config=train_config(elsewhere_fraction=0.25), **settings)
    assert len(plain.elsewhere_voxels) == 0
    assert len(subject.elsewhere_voxels)
    assert np.linalg.norm(subject.elsewhere_voxels * (4.0, 3.0, 3.0), axis=1).min() > 20
    assert not any(subject.embolus[tuple(voxel)] for voxel in subject.elsewhere_voxels)


@pytest.mark.parametrize(
    ("changes", "both"),
    [
        ({"visibility_floor": 0.0}, False),
        ({"visibility_floor": 0.1}, True),
        ({}, True),
    ],
    ids=["unseen weigh nothing", "unseen weigh little", "all alike"],
)
def test_patches_are_centred_on_clots_that_have_something_to_teach(crops, tmp_path, changes, both):
    """p0's clot is 50 HU above its blood; a second one, of blood's HU, lies elsewhere in the vessel."""
    shutil.copytree(crops / "p0", tmp_path / "crops" / "p0")
    embolus = read_image(tmp_path / "crops" / "p0" / "embolus.nii.gz")
    ids = sitk.GetArrayFromImage(embolus)
    z, y, x = (int(n) for n in np.argwhere(ids)[0])
    unseen = (slice(12, 15) if z < 7 else slice(0, 2), slice(y, y + 4), slice(x, x + 4))
    assert not ids[unseen].any()
    ids[unseen] = 2
    write_image(image_like(ids, embolus), tmp_path / "crops" / "p0" / "embolus.nii.gz")
    config = train_config(invisible_hu=10.0, visible_hu=30.0, **changes)
    settings = {"labels": {"p0": 1}, "paired": {"p0"}, "spacing": (3.0, 3.0, 4.0), "config": config}
    (subject,) = loaded(["p0"], crops=tmp_path / "crops", cache=tmp_path / "cache", **settings)
    centred = {int(ids[tuple(voxel)]) for voxel in subject.clot_voxels}
    assert centred == ({1, 2} if both else {1})
