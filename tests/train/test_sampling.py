from collections.abc import Callable

import numpy as np
import pytest
import torch

from cpmn.config.train import TrainConfig
from cpmn.plan import AIR_HU
from cpmn.train.cases import Case
from cpmn.train.sampling import Place, cut, sample_batch, sample_places

SHAPE = (12, 30, 30)


def case(name: str, clot: bool, ctpa: bool = True) -> Case:
    random = np.random.default_rng(len(name) + clot)
    embolus = np.zeros(SHAPE, np.uint8)
    if clot:
        embolus[5:7, 10:14, 10:14] = 1
    hu = [random.integers(-100, 100, SHAPE).astype(np.int16) for _ in range(2)]
    everywhere = np.argwhere(np.ones(SHAPE, bool)).astype(np.int16)
    return Case(name, int(clot), hu[0], hu[1] if ctpa else None, embolus, np.argwhere(embolus), everywhere)


@pytest.fixture
def cases() -> list[Case]:
    return [case("a", True), case("bb", False), case("ccc", True), case("dddd", False)]


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    def make(**changes: object) -> TrainConfig:
        return TrainConfig.model_validate({"patch_size": (16, 16, 8), "batch_size": 4} | changes)

    return make


def test_batches_are_a_function_of_seed_and_step(cases, config):
    first, same = sample_batch(cases, config(), 3), sample_batch(cases, config(), 3)
    assert torch.equal(first.nct.patches, same.nct.patches)
    assert first.ctpa is not None
    assert same.ctpa is not None
    assert torch.equal(first.ctpa.patches, same.ctpa.patches)
    for other in (sample_batch(cases, config(), 4), sample_batch(cases, config(seed=1), 3)):
        assert not torch.equal(first.nct.patches, other.nct.patches)


@pytest.mark.parametrize("change", [{"pathways": ("nct",)}, {"ctpa_source": "nct"}, {"ctpa_source": "shuffled"}])
def test_variants_share_the_nct_patches(cases, config, change):
    plain, other = sample_batch(cases, config(), 5), sample_batch(cases, config(**change), 5)
    assert torch.equal(plain.nct.patches, other.nct.patches)
    assert torch.equal(plain.nct.clot, other.nct.clot)


def test_one_pathway_reads_no_ctpa(cases, config):
    batch = sample_batch([case("x", True, ctpa=False), case("yy", False, ctpa=False)], config(pathways=("nct",)), 0)
    assert batch.ctpa is None


def test_shapes_and_range(cases, config):
    batch = sample_batch(cases, config(), 0)
    assert batch.ctpa is not None
    for phase in (batch.nct, batch.ctpa):
        assert phase.patches.shape == phase.clot.shape == phase.vessel.shape == (4, 1, 8, 16, 16)
        assert phase.patches.abs().max() <= 4
        assert phase.patches.dtype == torch.float32
    assert torch.equal(batch.nct.clot, batch.ctpa.clot)


def test_foreground_patches_hold_clot(cases, config):
    for step in range(10):
        batch = sample_batch(cases, config(foreground_fraction=0.5), step)
        assert batch.nct.present[:2].tolist() == [1, 1]
        assert torch.equal(batch.nct.present, batch.nct.clot.flatten(1).amax(1))
    places = [place for step in range(50) for place in sample_places(cases, config(foreground_fraction=0), step)]
    assert {place.case.patient for place in places} == {"a", "bb", "ccc", "dddd"}


def test_vessel_is_blood_like_and_free_of_clot(cases, config):
    batch = sample_batch(cases, config(pathways=("nct",), noise_hu=0, shift_hu=0), 1)
    assert (batch.nct.vessel * batch.nct.clot).sum() == 0
    inside = batch.nct.patches[batch.nct.vessel > 0]
    assert inside.numel()
    assert inside.min() >= -1.5
    assert inside.max() <= 1.5


def test_own_ctpa_tells_vessel_from_other_soft_tissue(cases, config):
    """These made-up CTPA stay below 150 HU: nothing in them is an opacified vessel."""
    assert sample_batch(cases, config(), 1).nct.vessel.sum() == 0
    assert sample_batch(cases, config(ctpa_source="shuffled"), 1).nct.vessel.sum() > 0


def test_both_phases_share_the_place_but_not_the_noise(config):
    twin = case("a", True)
    twin = Case(twin.patient, 1, twin.nct, twin.nct, twin.embolus, twin.clot_voxels, twin.lung_voxels)
    windows = {"ctpa_window_center": 45.0, "ctpa_window_scale": 20.0}
    clean = sample_batch([twin], config(noise_hu=0, shift_hu=0, **windows), 2)
    noisy = sample_batch([twin], config(**windows), 2)
    assert clean.ctpa is not None
    assert noisy.ctpa is not None
    assert torch.equal(clean.nct.patches, clean.ctpa.patches)
    assert not torch.equal(noisy.nct.patches, noisy.ctpa.patches)


def test_patients_without_ctpa_train_the_nct_pathway_alone(config):
    cases = [case("a", True, ctpa=False), case("bb", True), case("ccc", False, ctpa=False)]
    batch, places = sample_batch(cases, config(), 0), sample_places(cases, config(), 0)
    assert batch.paired == [row for row, place in enumerate(places) if place.case.patient == "bb"]
    assert (len(batch.ctpa.patches) if batch.ctpa else 0) == len(batch.paired)
    assert sample_batch([cases[0]], config(), 0).ctpa is None


def test_the_nct_control_feeds_the_nct_twice(cases, config):
    batch = sample_batch(cases, config(ctpa_source="nct", noise_hu=0, shift_hu=0), 0)
    assert batch.ctpa is not None
    assert torch.equal(batch.ctpa.patches, batch.nct.patches)


def test_the_shuffled_control_feeds_other_patients_with_their_own_label(cases, config):
    quiet = config(ctpa_source="shuffled", noise_hu=0, shift_hu=0)
    own = config(noise_hu=0, shift_hu=0)
    for step in range(5):
        shuffled, plain = sample_batch(cases, quiet, step), sample_batch(cases, own, step)
        assert shuffled.ctpa is not None
        assert plain.ctpa is not None
        assert not any(torch.equal(a, b) for a, b in zip(shuffled.ctpa.patches, plain.ctpa.patches, strict=True))
        assert shuffled.ctpa.present[:2].tolist() == [1, 1]


def test_flip_mirrors_left_and_right(cases):
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    straight, mirrored = (cut(array, Place(cases[0], (2, 3, 4), flip, False), (4, 5, 6), 0) for flip in (False, True))
    assert np.array_equal(straight, array[2:6, 3:8, 4:10])
    assert np.array_equal(mirrored, straight[:, :, ::-1])


def test_patches_beyond_a_small_volume_are_air(cases):
    patch = cut(np.zeros((3, 4, 5), np.int16), Place(cases[0], (0, 0, 0), False, False), (4, 4, 6), AIR_HU)
    assert patch.shape == (4, 4, 6)
    assert (patch[:3, :, :5] == 0).all()
    assert (patch[3] == AIR_HU).all()
    assert (patch[..., 5] == AIR_HU).all()
