# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
# Every patient here has an NCT: a test that finds none fails by itself.
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from cpmn.config.train import Phase, TrainConfig
from cpmn.train import simulate
from cpmn.train.patches import voxels_in_patch
from cpmn.train.places import sample_alone, sample_donors, sample_places
from cpmn.train.sampling import _cuts, sample_batch
from cpmn.train.subjects import Subject
from cpmn.volume.grid import normalise
from tests.settings import train_config

SHAPE = (12, 30, 30)
SIGNS: dict[Phase, int] = {"nct": 1, "ctpa": -1}
"""Whether a clot is brighter or darker than blood."""


def subject(name: str, clot: bool, ctpa: bool = True) -> Subject:
    random = np.random.default_rng(len(name) + clot)
    embolus = np.zeros(SHAPE, np.uint8)
    if clot:
        embolus[5:7, 10:14, 10:14] = 1
    hu = [random.integers(-100, 100, SHAPE).astype(np.int16) for _ in range(2)]
    everywhere = np.argwhere(np.ones(SHAPE, bool)).astype(np.int16)
    return Subject(name, int(clot), hu[0], hu[1] if ctpa else None, embolus, np.argwhere(embolus), everywhere)


@pytest.fixture
def subjects() -> list[Subject]:
    return [subject("a", True), subject("bb", False), subject("ccc", True), subject("dddd", False)]


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    def make(**changes: object) -> TrainConfig:
        return train_config(**({"patch_size": (16, 16, 8), "batch_size": 4} | changes))

    return make


def test_batches_are_a_function_of_seed_and_step(subjects, config):
    first, same = sample_batch(subjects, config(), 3), sample_batch(subjects, config(), 3)
    assert torch.equal(first.nct.patches, same.nct.patches)
    assert first.ctpa is not None
    assert same.ctpa is not None
    assert torch.equal(first.ctpa.patches, same.ctpa.patches)
    for other in (sample_batch(subjects, config(), 4), sample_batch(subjects, config(seed=1), 3)):
        assert not torch.equal(first.nct.patches, other.nct.patches)


def test_the_ctpa_beside_an_nct_is_mirrored_along_each_axis_in_half_of_the_steps(subjects, config):
    for source in ("ctpa", "nct", "shuffled"):
        drawn = [sample_batch(subjects, config(ctpa_source=source), step).mirrored for step in range(60)]
        assert all(20 <= sum(axis in axes for axes in drawn) <= 40 for axis in (2, 3, 4))
    for alone in ("nct", "ctpa"):
        assert not any(sample_batch(subjects, config(pathways=(alone,)), step).mirrored for step in range(20))


@pytest.mark.parametrize("change", [{"pathways": ("nct",)}, {"ctpa_source": "nct"}, {"ctpa_source": "shuffled"}])
def test_variants_share_the_nct_patches(subjects, config, change):
    plain, other = sample_batch(subjects, config(), 5), sample_batch(subjects, config(**change), 5)
    assert torch.equal(plain.nct.patches, other.nct.patches)
    assert torch.equal(plain.nct.clot, other.nct.clot)


def test_each_patient_is_seen_about_its_own_centre_and_the_ctpa_about_the_common_one(subjects, config):
    plain = config(clip=100.0)
    raised = [replace(one, window_center=one.window_center + 2 * plain.network.window_scale) for one in subjects]
    batch, other = (sample_batch(some, plain, 3) for some in (subjects, raised))
    assert torch.allclose(other.nct.patches, batch.nct.patches - 2, atol=1e-5)
    assert batch.ctpa is not None
    assert other.ctpa is not None
    assert torch.equal(other.ctpa.patches, batch.ctpa.patches)


def test_one_pathway_reads_no_ctpa(subjects, config):
    batch = sample_batch(
        [subject("x", True, ctpa=False), subject("yy", False, ctpa=False)], config(pathways=("nct",)), 0
    )
    assert batch.ctpa is None


def test_shapes_and_range(subjects, config):
    batch = sample_batch(subjects, config(), 0)
    assert batch.ctpa is not None
    for phase in (batch.nct, batch.ctpa):
        assert phase.patches.shape == phase.clot.shape == phase.vessel.shape == (4, 1, 8, 16, 16)
        assert phase.patches.abs().max() <= 4
        assert phase.patches.dtype == torch.float32
    assert torch.equal(batch.nct.clot, batch.ctpa.clot)


def test_foreground_patches_hold_clot(subjects, config):
    for step in range(10):
        batch = sample_batch(subjects, config(foreground_fraction=0.5), step)
        assert batch.nct.present[:2].tolist() == [1, 1]
        assert torch.equal(batch.nct.present, batch.nct.clot.flatten(1).amax(1))
    places = [place for step in range(50) for place in sample_places(subjects, config(foreground_fraction=0), step)]
    assert {place.subject.patient for place in places} == {"a", "bb", "ccc", "dddd"}


def test_vessel_is_blood_like_and_free_of_clot(subjects, config):
    batch = sample_batch(subjects, config(pathways=("nct",), noise_hu=0, shift_hu=0), 1)
    assert (batch.nct.vessel * batch.nct.clot).sum() == 0
    inside = batch.nct.patches[batch.nct.vessel > 0]
    assert inside.numel()
    assert inside.min() >= -1.5
    assert inside.max() <= 1.5


def test_own_ctpa_tells_vessel_from_other_soft_tissue(subjects, config):
    """These made-up CTPA stay below 150 HU: nothing in them is an opacified vessel."""
    assert sample_batch(subjects, config(), 1).nct.vessel.sum() == 0
    assert sample_batch(subjects, config(ctpa_source="shuffled"), 1).nct.vessel.sum() > 0


def test_both_phases_share_the_place_but_not_the_noise(config):
    twin = subject("a", True)
    twin = replace(twin, ctpa=twin.nct)
    windows = {"ctpa_window_center": 45.0, "ctpa_window_scale": 20.0}
    clean = sample_batch([twin], config(noise_hu=0, shift_hu=0, **windows), 2)
    noisy = sample_batch([twin], config(**windows), 2)
    assert clean.ctpa is not None
    assert noisy.ctpa is not None
    assert torch.equal(clean.nct.patches, clean.ctpa.patches)
    assert not torch.equal(noisy.nct.patches, noisy.ctpa.patches)


def test_patients_without_ctpa_train_the_nct_pathway_alone(config):
    subjects = [subject("a", True, ctpa=False), subject("bb", True), subject("ccc", False, ctpa=False)]
    batch, places = sample_batch(subjects, config(), 0), sample_places(subjects, config(), 0)
    assert batch.paired == [row for row, place in enumerate(places) if place.subject.patient == "bb"]
    assert (len(batch.ctpa.patches) if batch.ctpa else 0) == len(batch.paired)
    assert sample_batch([subjects[0]], config(), 0).ctpa is None


def test_where_the_ctpa_does_not_reach_nothing_is_taught_or_compared(config):
    plain = subject("bb", True)
    reached = np.ones(SHAPE, np.uint8)
    reached[:6] = 0  # through the clot
    subjects, steps = [replace(plain, reached=reached)], range(12)
    shown = []
    for step in steps:
        batch, same = sample_batch(subjects, config(), step), sample_batch([plain], config(), step)
        assert torch.equal(batch.nct.patches, same.nct.patches)
        assert torch.equal(batch.nct.clot, same.nct.clot)
        assert batch.nct.weight is None
        assert (same.reached, same.paired) == (None, [0, 1, 2, 3])
        if batch.ctpa is None:
            continue
        assert batch.reached is not None
        assert batch.ctpa.weight is not None
        assert len(batch.ctpa.patches) == len(batch.reached) == len(batch.paired)
        assert torch.equal(batch.ctpa.weight, batch.reached)
        assert torch.equal(batch.ctpa.clot, batch.nct.clot[batch.paired] * batch.reached)
        assert torch.equal(batch.ctpa.present, batch.ctpa.clot.flatten(1).amax(1))
        shares = batch.reached.flatten(1).mean(1)
        assert (shares >= 0.5).all()
        shown += shares.tolist()
    assert min(shown) < 1
    assert len(shown) < 4 * len(steps), "patches of which the CTPA shows less than half are unpaired"
    control = sample_batch(subjects, config(ctpa_source="nct"), 0)
    assert (control.reached, control.paired) == (None, [0, 1, 2, 3])


def test_the_nct_control_feeds_the_nct_twice(subjects, config):
    batch = sample_batch(subjects, config(ctpa_source="nct", noise_hu=0, shift_hu=0), 0)
    assert batch.ctpa is not None
    assert torch.equal(batch.ctpa.patches, batch.nct.patches)


def test_the_shuffled_control_feeds_other_patients_with_their_own_label(subjects, config):
    quiet = config(ctpa_source="shuffled", noise_hu=0, shift_hu=0)
    own = config(noise_hu=0, shift_hu=0)
    for step in range(5):
        shuffled, plain = sample_batch(subjects, quiet, step), sample_batch(subjects, own, step)
        assert shuffled.ctpa is not None
        assert plain.ctpa is not None
        assert not any(torch.equal(a, b) for a, b in zip(shuffled.ctpa.patches, plain.ctpa.patches, strict=True))
        assert shuffled.ctpa.present[:2].tolist() == [1, 1]


def test_spatial_variation_is_the_same_in_both_phases(config):
    twin = subject("a", True)
    twin = replace(twin, ctpa=twin.nct, spacing=(1.0, 1.0, 2.0))
    same = {"ctpa_window_center": 45.0, "ctpa_window_scale": 20.0, "noise_hu": 0, "shift_hu": 0}
    varied = config(rotation_degrees=20, scaling=0.2, flip_axes=("x", "y", "z"), **same)
    batch, plain = sample_batch([twin], varied, 2), sample_batch([twin], config(**same), 2)
    assert batch.ctpa is not None
    assert torch.equal(batch.nct.patches, batch.ctpa.patches)
    assert torch.equal(batch.nct.clot, batch.ctpa.clot)
    assert not torch.equal(batch.nct.patches, plain.nct.patches)


def test_options_move_no_patch(subjects, config):
    options = {"rotation_degrees": 10, "simulated_fraction": 1.0, "scaling": 0.1, "vein_fraction": 0.25}
    for step in range(5):
        plain, varied = sample_places(subjects, config(), step), sample_places(subjects, config(**options), step)
        assert [(p.subject.patient, p.corner) for p in plain[:2]] == [(p.subject.patient, p.corner) for p in varied[:2]]


def test_a_simulated_embolus_moves_its_own_patch_alone(config):
    subjects = [with_tube("p", 1), with_tube("n", 0), with_tube("m", 0)]
    options = {"rotation_degrees": 10, "scaling": 0.1, "flip_axes": ("x", "y", "z"), "foreground_fraction": 0.25}
    options |= {"enough_outlined": 0}
    moved = 0
    for step in range(20):
        plain = sample_places(subjects, config(**options), step)
        made = sample_places(subjects, config(**options, simulated_fraction=0.5), step)
        for before, after in zip(plain, made, strict=True):
            same = after if after.embolus_at is None else replace(after, corner=before.corner, embolus_at=None)
            moved += after.corner != before.corner
            assert (same.corner, same.flips) == (before.corner, before.flips)
            assert same.subject is before.subject
            assert np.array_equal(cast(np.ndarray, same.matrix), cast(np.ndarray, before.matrix))
    assert moved > 10


def with_tube(name: str, label: int) -> Subject:
    """A vessel of 45 HU through lung; the CTPA shows it at 350 HU."""
    nct, ctpa, tube = np.full(SHAPE, -850, np.int16), np.full(SHAPE, -850, np.int16), np.zeros(SHAPE, bool)
    tube[:, 11:19, 11:19] = True
    nct[tube], ctpa[tube] = 45, 350
    everywhere, vessel = (np.argwhere(mask).astype(np.int16) for mask in (np.ones(SHAPE, bool), tube))
    embolus = np.zeros(SHAPE, np.uint8)
    embolus[5:7, 13:16, 13:16] = label
    return Subject(name, label, nct, ctpa, embolus, np.argwhere(embolus), everywhere, vessel, spacing=(1.0, 1.0, 1.0))


def test_simulated_emboli_go_into_normals_alone(config):
    subjects = [with_tube("p", 1), with_tube("n", 0)]
    on = config(simulated_fraction=1.0, foreground_fraction=0, simulated_hu=(35, 35), steps=100, noise_hu=0, shift_hu=0)
    seen = 0
    for step in range(8):
        made = sample_batch(subjects, on, step)
        assert made.ctpa is not None
        for row, place in enumerate(sample_places(subjects, on, step)):
            assert (place.embolus_at is None) is bool(place.subject.label)
            (plain,) = _cuts([replace(place, embolus_at=None)], on, step, np.random.default_rng(0))
            clot = made.nct.clot[row, 0].bool().numpy()
            assert made.nct.present[row] == clot.any()
            if place.subject.label:
                assert np.array_equal(clot, plain.clot)
                continue
            seen += 1
            (inside,) = voxels_in_patch(np.array([place.embolus_at]), place, clot.shape)
            assert clot[tuple(inside)]
            for name, sign in SIGNS.items():
                center, scale = on.network.window(name)
                before = normalise(getattr(plain, name), center, scale, on.network.clip)
                changed = getattr(made, name).patches[row, 0].numpy() - before
                assert sign * changed[clot].mean() > 0.5
            assert not made.nct.vessel[row, 0].bool().numpy()[clot].any()
    assert seen >= 5


def test_patches_of_a_ctpa_alone_show_simulated_clots_by_their_share_where_others_are_outlined(config):
    alone = replace(with_tube("c", 0), nct=None)
    settings = config(simulated_fraction=0.4, foreground_fraction=1.0, ctpa_alone_patches=2, enough_outlined=0)
    unread = replace(with_tube("q", 1), ctpa=None)  # whose clots the CTPA pathway never sees
    for others, share in (([with_tube("p", 1)], 0.4), ([with_tube("n", 0), unread], 1.0)):
        places = [place for step in range(200) for place in sample_alone([alone, *others], settings, step)]
        assert np.mean([place.embolus_at is not None for place in places]) == pytest.approx(share, abs=0.07)


@pytest.mark.parametrize(
    ("outlined", "drawn"), [(0, 0), (2, 0), (4, 0), (8, 0), (9, 0), (0, 3), (1, 3), (4, 3), (8, 3)]
)
def test_simulated_clots_stand_in_for_outlined_patients_that_lack(config, outlined, drawn):
    """Those whom a network outlined do not count, but are seen in a quarter of the patches on clots."""
    unknown = replace(with_tube("u", 1), embolus=np.zeros(SHAPE, np.uint8), clot_voxels=np.empty((0, 3), int))
    known = [with_tube(f"p{number}", 1) for number in range(outlined)]
    known += [replace(with_tube(f"w{number}", 1), complete=False) for number in range(drawn)]
    subjects = [*known, replace(unknown, outlined=False), with_tube("n", 0), subject("no vessel", False)]
    settings = config(foreground_fraction=0.5, elsewhere_fraction=0.25, simulated_fraction=0.01, enough_outlined=8)
    places = [place for step in range(150) for place in sample_places(subjects, settings, step)]
    on_clots = [place for place in places if place.kind == "clot"]
    made = [place for place in on_clots if place.embolus_at]
    assert len(on_clots) == len(places) / 2
    share = max(0, 1 - outlined / 8)
    assert len(made) / len(on_clots) == pytest.approx(min(share, 0.75) if drawn else share, abs=0.08)
    assert {place.subject.patient for place in made} <= {"n"}
    assert len({place.subject.patient for place in on_clots if not place.embolus_at}) == outlined + drawn
    assert not any(place.embolus_at for place in places if place.kind == "elsewhere")


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("off", [{"simulated_fraction": 0}, {"simulated_fraction": 0.01, "enough_outlined": 0}])
def test_where_nothing_is_simulated_or_nobody_lacks_nobody_stands_in(config, complete, off):
    subjects = [replace(with_tube("p", 1), complete=complete), with_tube("n", 0)]
    settings = config(foreground_fraction=1.0, **off)
    places = [place for step in range(20) for place in sample_places(subjects, settings, step)]
    assert not any(place.embolus_at for place in places)
    assert {place.subject.patient for place in places if place.kind == "clot"} == {"p"}


def test_where_others_lack_clots_donors_of_clots_show_simulated_ones(config):
    """Nobody but the patient is outlined."""
    subjects = [with_tube("p", 1), with_tube("n", 0), with_tube("m", 0)]
    settings = config(foreground_fraction=1.0, simulated_fraction=0.1, enough_outlined=16)
    shown = []
    for step in range(100):
        places = [place for place in sample_places(subjects, settings, step) if place.subject.patient == "p"]
        shown += [one.embolus_at is not None for one in sample_donors(places, subjects, settings, step)]
    assert len(shown) > 10
    assert np.mean(shown) > 0.8


@pytest.mark.parametrize(("edge", "weight"), [(0.0, (0.5, 0.5)), (0.5, (0.0, 0.5))], ids=["sharp", "smoothed"])
def test_simulated_clots_weigh_by_their_contrast(config, monkeypatch, edge, weight):
    """12 HU, fully visible at 20 and not at all up to 4, is a half; a smoothed rim takes part of it."""
    monkeypatch.setattr(simulate, "EDGE_VOXELS", (edge, edge))
    monkeypatch.setattr(simulate, "CONTRAST_SD_HU", 0.0)
    nothing = np.zeros(SHAPE, np.uint8)
    subjects = [replace(with_tube("n", 0), visibility=nothing)]
    made = {"simulated_fraction": 1.0, "simulated_hu": (12, 12)}
    settings = config(visibility_floor=0.0, visible_hu=20, invisible_hu=4, **made)
    least = 1.0
    for step in range(4):
        nct = sample_batch(subjects, settings, step).nct
        assert nct.weight is not None
        found = nct.weight[nct.clot > 0].numpy()
        assert weight[0] <= found.min() <= found.max() <= weight[1]
        least = min(least, found.min())
        assert (nct.weight[nct.clot == 0] == 1).all()
    assert bool(least < 0.49) is bool(edge)


@pytest.mark.parametrize("change", [{"pathways": ("nct",)}, {"ctpa_source": "nct"}, {"ctpa_source": "shuffled"}])
def test_variants_share_the_simulated_emboli_too(config, change):
    subjects = [with_tube("p", 1), with_tube("n", 0)]
    for step in range(4):
        settings = {"simulated_fraction": 1.0}
        plain, other = (sample_batch(subjects, config(**settings, **c), step).nct for c in ({}, change))
        assert torch.equal(plain.patches, other.patches)
        assert torch.equal(plain.clot, other.clot)
        assert plain.present[2:].any()


def test_label_weights_follow_visibility(config):
    seen = replace(with_tube("p", 1), visibility=np.where(with_tube("p", 1).embolus, 51, 0).astype(np.uint8))
    for floor in (0.5, 0.75):
        nct = sample_batch([seen], config(foreground_fraction=1.0, visibility_floor=floor), 0).nct
        assert nct.weight is not None
        assert nct.weight[nct.clot > 0].unique().tolist() == pytest.approx([0.2 + 0.8 * floor])
        assert (nct.weight[nct.clot == 0] == 1).all()
        present = nct.present_weight()
        assert present is not None
        assert present.tolist() == pytest.approx([0.2 + 0.8 * floor] * 4)
    assert sample_batch([with_tube("p", 1)], config(), 0).nct.weight is None


@pytest.mark.parametrize(("source", "weighs"), [("ctpa", False), ("shuffled", False), ("nct", True)])
def test_a_contrast_scan_shows_every_clot_and_weighs_all_labels(config, source, weighs):
    seen = replace(with_tube("p", 1), visibility=np.where(with_tube("p", 1).embolus, 51, 0).astype(np.uint8))
    settings = {"foreground_fraction": 1.0, "visibility_floor": 0.5, "ctpa_source": source}
    batch = sample_batch([seen], config(**settings), 0)
    assert batch.nct.weight is not None
    assert batch.ctpa is not None
    assert (batch.ctpa.weight is not None) == weighs


def test_internal_negatives_centre_on_veins_of_those_with_a_mask(config):
    vein = np.zeros(SHAPE, bool)
    vein[:, 15, 15] = True
    masked = replace(subject("bb", False), vein_voxels=np.argwhere(vein).astype(np.int16))
    subjects = [subject("a", True), masked, subject("dddd", False)]
    settings = config(vein_fraction=0.25, foreground_fraction=0.5)
    places = [place for step in range(20) for place in sample_places(subjects, settings, step)]
    assert [place.kind for place in places[:4]] == ["clot", "clot", "vein", "lung"]
    negatives = [place for place in places if place.kind == "vein"]
    assert {place.subject.patient for place in negatives} == {"bb"}
    for place in negatives:  # a patch of 8 x 16 x 16 that is moved by a quarter at most holds its centre
        assert all(corner <= 15 < corner + 16 for corner in place.corner[1:])


def test_patches_beyond_the_lungs_are_shown_if_asked_for(config):
    corner = np.zeros(SHAPE, bool)
    corner[:, 0, 0] = True
    subjects = [
        replace(subject(n, n == "a"), elsewhere_voxels=np.argwhere(corner).astype(np.int16)) for n in ("a", "bb")
    ]
    settings = config(foreground_fraction=0.5, elsewhere_fraction=0.25)
    places = [place for step in range(20) for place in sample_places(subjects, settings, step)]
    assert [place.kind for place in places[:4]] == ["clot", "clot", "elsewhere", "lung"]
    outside = [place for place in places if place.kind == "elsewhere"]
    assert {place.subject.patient for place in outside} == {"a", "bb"}
    assert all(place.corner[1:] == (0, 0) for place in outside)


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_shares_hold_on_average_however_small_the_batch(config, batch):
    one = np.zeros((1, 3), np.int16)
    subjects = [replace(with_tube(n, n == "a"), elsewhere_voxels=one, vein_voxels=one) for n in ("a", "bb")]
    shares = {"clot": 0.5, "vein": 0.1, "elsewhere": 0.25, "lung": 0.15}
    settings = config(batch_size=batch, foreground_fraction=0.5, vein_fraction=0.1, elsewhere_fraction=0.25)
    batches = [[place.kind for place in sample_places(subjects, settings, step)] for step in range(600)]
    assert {len(kinds) for kinds in batches} == {batch}
    for kind, share in shares.items():
        counts = [kinds.count(kind) for kinds in batches]
        assert max(counts) - min(counts) <= 1
        assert np.mean(counts) == pytest.approx(batch * share, abs=0.06)


def test_veins_get_no_simulated_embolus(config):
    subjects = [with_tube("p", 1), replace(with_tube("n", 0), vein_voxels=with_tube("n", 0).vessel_voxels)]
    settings = config(vein_fraction=0.25, foreground_fraction=0.25, simulated_fraction=1.0)
    places = [place for step in range(20) for place in sample_places(subjects, settings, step)]
    assert not any(place.embolus_at for place in places if place.kind == "vein")
    assert any(place.embolus_at for place in places if place.kind == "lung")


def test_hard_negatives_are_seen_again_as_they_are(config):
    place = with_tube("n", 0).vessel_voxels[:1]
    subjects = [with_tube("p", 1), with_tube("other", 0), replace(with_tube("n", 0), hard_voxels=place)]
    settings = config(hard_fraction=0.25, foreground_fraction=0.25, elsewhere_fraction=0.25, simulated_fraction=1.0)
    places = [place for step in range(20) for place in sample_places(subjects, settings, step)]
    assert [place.kind for place in places[:4]] == ["clot", "elsewhere", "hard", "lung"]
    hard = [place for place in places if place.kind == "hard"]
    assert {one.subject.patient for one in hard} == {"n"}
    assert not any(one.embolus_at for one in hard)
    for one in hard:  # as with veins
        assert all(corner <= at < corner + 16 for corner, at in zip(one.corner[1:], place[0][1:], strict=True))


def test_before_hard_negatives_are_known_the_same_patches_lie_near_the_lungs(subjects, config):
    settings = config(hard_fraction=0.5, foreground_fraction=0.5, simulated_fraction=1.0)
    places = sample_places(subjects, settings, 0)
    assert not any(place.embolus_at for place in places if place.kind == "hard")
    assert [place.kind for place in places] == ["clot", "clot", "hard", "hard"]
    plain = sample_places(subjects, config(foreground_fraction=0.5), 0)
    assert [(one.subject.patient, one.corner) for one in places] == [(one.subject.patient, one.corner) for one in plain]


def test_a_turned_clot_keeps_its_visibility_at_its_rim(config):
    ball = with_tube("p", 1)
    ball.embolus[:] = 0
    ball.embolus[3:9, 9:21, 9:21] = 1
    ball = replace(ball, clot_voxels=np.argwhere(ball.embolus), visibility=np.full(SHAPE, 255, np.uint8))
    turned = config(foreground_fraction=1.0, visibility_floor=0.0, rotation_degrees=20, scaling=0.1)
    for step in range(5):
        nct = sample_batch([ball], turned, step).nct
        assert nct.weight is not None
        assert nct.weight[nct.clot > 0].min() == 1


def test_without_anything_beyond_the_lungs_patches_lie_near_them(subjects, config):
    places = sample_places(subjects, config(elsewhere_fraction=1.0, foreground_fraction=0.0), 0)
    assert len(places) == 4


def test_no_internal_negatives_by_default_and_no_more_patches_than_the_batch(subjects, config):
    assert not [place for place in sample_places(subjects, config(), 0) if place.kind == "vein"]
    two = config(batch_size=2, foreground_fraction=0.5, vein_fraction=0.5)
    assert all(len(sample_places(subjects, two, step)) == 2 for step in range(10))
    with pytest.raises(ValueError, match="vein_fraction, elsewhere_fraction, hard_fraction must not exceed 1 together"):
        config(foreground_fraction=0.5, elsewhere_fraction=0.25, vein_fraction=0.5)
