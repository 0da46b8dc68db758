import numpy as np
import pytest

from cpmn.config.train import TrainConfig
from cpmn.train.simulate import CONTRAST_SD_HU, contrast_at, draw_contrast, insert_embolus, recontrast
from cpmn.train.visibility import contrast_to_blood

SPACING = (1.5, 1.5, 3.0)
MIDDLE = np.array([7, 11, 11])


def tube() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    nct, ctpa = np.full((16, 24, 24), -850.0, np.float32), np.full((16, 24, 24), -850.0, np.float32)
    nct[:, 8:16, 8:16], ctpa[:, 8:16, 8:16] = 45, 350
    return nct + random.normal(0, 3, nct.shape), ctpa + random.normal(0, 10, nct.shape)


def test_contrast_goes_from_easy_to_hard():
    config = TrainConfig.model_validate({"steps": 11, "simulated_hu": (30, 10)})
    assert [contrast_at(step, config) for step in (0, 5, 10)] == [30, 20, 10]


@pytest.mark.parametrize(("dark", "share"), [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0)])
def test_contrasts_spread_about_the_schedule_on_either_side(dark, share):
    config = TrainConfig.model_validate({"steps": 11, "simulated_hu": (40, 20), "simulated_dark_fraction": dark})
    random = np.random.default_rng(0)
    drawn = np.array([draw_contrast(5, config, random) for _ in range(4000)])
    assert (drawn < 0).mean() == pytest.approx(share, abs=0.03)
    assert np.abs(drawn).mean() == pytest.approx(30, abs=0.5)
    assert np.abs(drawn).std() == pytest.approx(CONTRAST_SD_HU, abs=0.3)


@pytest.mark.parametrize(("dark", "expected"), [(0.0, 30.0), (1.0, -30.0)])
def test_each_labelled_clot_gets_a_contrast_of_the_schedule_whatever_it_had(dark, expected):
    """An isodense, a bright and a dark clot in one vessel; noise and all else stay."""
    nct, _ = tube()
    clot = np.zeros(nct.shape, bool)
    for start, own in ((1, 0.0), (6, 20.0), (11, -20.0)):
        clot[start : start + 3, 9:13, 9:13] = True
        nct[start : start + 3, 9:13, 9:13] += own
    settings = {"steps": 11, "simulated_hu": (30, 30), "simulated_dark_fraction": dark}
    config, random = TrainConfig.model_validate(settings), np.random.default_rng(0)
    new = recontrast(nct, clot, spacing=SPACING, step=5, config=config, random=random)
    found = []
    for start in (1, 6, 11):
        piece = np.zeros(nct.shape, bool)
        piece[start : start + 3, 9:13, 9:13] = True
        inner = (slice(start + 1, start + 2), slice(10, 12), slice(10, 12))
        found.append(contrast_to_blood(new, piece, ~clot, np.array(SPACING[::-1])))
        assert np.ptp(new[inner] - nct[inner]) < 3  # shifted as a whole; noise has an SD of 3
    assert np.abs(np.array(found) - expected).max() < 12  # the schedule's SD is 5, the smoothed rim takes some
    far = np.zeros(nct.shape, bool)
    far[:, :5], far[:, 18:] = True, True
    assert np.array_equal(new[far], nct[far])


def test_without_a_clot_nothing_gets_another_contrast():
    nct, _ = tube()
    config, random = TrainConfig(), np.random.default_rng(0)
    assert np.array_equal(recontrast(nct, nct > 1e9, spacing=SPACING, step=0, config=config, random=random), nct)


@pytest.mark.parametrize("seed", range(5))
def test_a_clot_is_brighter_on_nct_and_a_defect_on_ctpa(seed):
    nct, ctpa = tube()
    new_nct, new_ctpa, mask = insert_embolus(
        nct, ctpa, at=MIDDLE, spacing=SPACING, contrast=30, random=np.random.default_rng(seed)
    )
    assert new_ctpa is not None
    assert 4 <= mask.sum() <= 8 * 8 * 5  # inside the vessel, 12 mm of its length at most
    assert mask[:, 8:16, 8:16].sum() == mask.sum()
    core = mask & (new_nct - nct > 0.9 * (new_nct - nct).max())
    assert 10 <= (new_nct - nct)[core].mean() <= 45  # partial volume takes most from the smallest clots
    assert new_ctpa[core].mean() < 150
    far = np.linalg.norm((np.indices(mask.shape).T - MIDDLE) * (3, 1.5, 1.5), axis=-1).T > 14
    assert np.array_equal(new_nct[far], nct[far])


def test_the_clot_does_not_depend_on_the_ctpa():
    nct, ctpa = tube()
    with_ctpa, without = (
        insert_embolus(nct, phase, at=MIDDLE, spacing=SPACING, contrast=30, random=np.random.default_rng(3))
        for phase in (ctpa, None)
    )
    assert np.array_equal(with_ctpa[0], without[0])
    assert np.array_equal(with_ctpa[2], without[2])
    assert without[1] is None


def test_no_vessel_no_clot():
    nct = np.full((8, 8, 8), -850.0)
    new, _, mask = insert_embolus(
        nct, None, at=np.array([4, 4, 4]), spacing=SPACING, contrast=30, random=np.random.default_rng(0)
    )
    assert not mask.any()
    assert np.array_equal(new, nct)


def test_the_clot_lies_in_the_vessel_that_is_asked_for():
    """Two vessels in lung; muscle of blood's HU lies nearer to the patch's centre than either."""
    nct = np.full((16, 24, 24), -850.0)
    nct[:, 2:6, 2:6] = nct[:, 18:22, 18:22] = nct[:, 9:15, 9:15] = 45
    for at in ([8, 4, 4], [8, 20, 20]):
        new, _, mask = insert_embolus(
            nct, None, at=np.array(at), spacing=SPACING, contrast=30, random=np.random.default_rng(1)
        )
        assert mask[tuple(at)]
        low, high = (2, 6) if at[1] == 4 else (18, 22)
        assert mask[:, low:high, low:high].sum() == mask.sum() > 0
        assert (new - nct)[mask].mean() > 10


def test_a_small_clot_takes_no_edge_of_its_vessel_for_noise():
    """A vessel of three voxels in lung: the defect is dark to its wall, where the CTPA falls by 1,200 HU."""
    nct, ctpa = np.full((8, 12, 12), -850.0), np.full((8, 12, 12), -850.0)
    nct[:, 5:8, 5:8], ctpa[:, 5:8, 5:8] = 45, 350
    _, new, mask = insert_embolus(
        nct, ctpa, at=np.array([4, 6, 6]), spacing=SPACING, contrast=30, random=np.random.default_rng(2)
    )
    assert mask.any()
    assert new is not None
    assert new[mask].max() < 300
