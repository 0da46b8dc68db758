# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportArgumentType=false
# pyright: reportOptionalOperand=false
# Every patient here has an NCT: a test that finds none fails by itself.
import numpy as np
import pytest
from scipy import ndimage

from cpmn.train import simulate
from cpmn.train.simulate import CONTRAST_SD_HU, contrast_at, draw_contrast, insert_embolus
from tests.anatomy.test_vessels import tube as sampled_tube
from tests.settings import train_config

SPACING = (1.5, 1.5, 3.0)
MIDDLE = np.array([7, 11, 11])
CENTRE = np.array([12, 12, 12])


def tube() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    nct, ctpa = np.full((16, 24, 24), -850.0, np.float32), np.full((16, 24, 24), -850.0, np.float32)
    nct[:, 8:16, 8:16], ctpa[:, 8:16, 8:16] = 45, 350
    return nct + random.normal(0, 3, nct.shape), ctpa + random.normal(0, 10, nct.shape)


def vessel(noise: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """NCT and CTPA of a patch that is all vessel."""
    return np.full((24, 24, 24), 45.0) + noise, np.full((24, 24, 24), 350.0) + noise


def test_contrast_goes_from_easy_to_hard():
    config = train_config(steps=11, simulated_hu=(30, 10))
    assert [contrast_at(step, config) for step in (0, 5, 10)] == [30, 20, 10]


def test_contrasts_spread_about_the_schedule():
    config, random = train_config(steps=11, simulated_hu=(40, 20)), np.random.default_rng(0)
    drawn = np.array([draw_contrast(5, config, random) for _ in range(4000)])
    assert drawn.mean() == pytest.approx(30, abs=0.5)
    assert drawn.std() == pytest.approx(CONTRAST_SD_HU, abs=0.3)


@pytest.mark.parametrize("seed", range(5))
def test_a_clot_is_brighter_on_nct_and_a_defect_on_ctpa(seed):
    nct, ctpa = tube()
    new_nct, new_ctpa, mask = insert_embolus(
        nct, ctpa, at=MIDDLE, spacing=SPACING, contrast=30, random=np.random.default_rng(seed)
    )
    assert new_ctpa is not None
    assert 4 <= mask.sum() <= 8 * 8 * 7  # inside the vessel, 20 mm of its length at most
    assert mask[:, 8:16, 8:16].sum() == mask.sum()
    core = mask & (new_nct - nct > 0.9 * (new_nct - nct).max())
    assert 10 <= (new_nct - nct)[core].mean() <= 45  # partial volume takes most from the smallest clots
    assert new_ctpa[core].mean() < 150
    far = np.linalg.norm((np.indices(mask.shape).T - MIDDLE) * (3, 1.5, 1.5), axis=-1).T > 21
    assert far.any()
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


def test_a_vessel_without_contrast_stays_as_it_is_on_the_ctpa():
    """What has blood's HU on the NCT may be a vein before the contrast, or no vessel at all."""
    nct, _ = vessel(0.0)
    _, ctpa, mask = insert_embolus(
        nct, nct.copy(), at=CENTRE, spacing=(1, 1, 1), contrast=30, random=np.random.default_rng(1)
    )
    assert mask.any()
    assert np.array_equal(ctpa, nct)


def test_both_phases_keep_their_noise_in_the_clot():
    """A scan is linear: what a clot changes does not depend on the noise. The vessel is as wide as the patch."""
    random = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(random.normal(0, 60, (24, 24, 24)), 1.5)  # coarse, as smooth kernels make it
    clean = insert_embolus(*vessel(0), at=CENTRE, spacing=(1, 1, 1), contrast=30, random=np.random.default_rng(4))
    noisy = insert_embolus(*vessel(noise), at=CENTRE, spacing=(1, 1, 1), contrast=30, random=np.random.default_rng(4))
    assert np.array_equal(clean[2], noisy[2])
    for before, after, atol in ((clean[0], noisy[0], 1e-6), (clean[1], noisy[1], 5)):  # the CTPA's own mean is noisy
        assert np.allclose(after - before, noise, atol=atol)


def test_a_small_clot_is_dark_to_the_wall_of_its_vessel():
    """A vessel of three voxels in lung, at whose wall the CTPA falls by 1,200 HU."""
    nct, ctpa = np.full((8, 12, 12), -850.0), np.full((8, 12, 12), -850.0)
    nct[:, 5:8, 5:8], ctpa[:, 5:8, 5:8] = 45, 350
    _, new, mask = insert_embolus(
        nct, ctpa, at=np.array([4, 6, 6]), spacing=SPACING, contrast=30, random=np.random.default_rng(2)
    )
    assert mask.any()
    assert new is not None
    assert new[mask].max() < 300


@pytest.mark.parametrize("alone", [True, False], ids=["CTPA alone", "pair"])
@pytest.mark.parametrize("radius", [2.0, 3.4, 6.0])
def test_a_clot_that_fills_its_vessel_takes_of_each_voxel_what_the_vessel_does(monkeypatch, radius, alone):
    """Known from sampling: of 33 HU where the vessel is whole, and less at its wall."""
    monkeypatch.setattr(simulate, "RADIUS_MM", (40.0, 40.0))
    monkeypatch.setattr(simulate, "CTPA_CLOT_HU", (33.0, 0.0))
    (ctpa, filled), (nct, _) = sampled_tube(radius, -850, 350), sampled_tube(radius, -850, 45)
    new_nct, new, mask = insert_embolus(
        None if alone else nct,
        ctpa,
        at=np.array([3, 12, 12]),
        spacing=(1, 1, 1),
        contrast=30,
        random=np.random.default_rng(1),
    )
    whole = filled >= 0.5
    assert 2 * (mask & whole).sum() / (mask.sum() + whole.sum()) > 0.95
    truth = -850 + (33 + 850) * filled
    assert np.abs(new - truth)[filled > 0].mean() < 25
    assert np.abs(new - truth)[filled == 1].max() < 40
    assert np.array_equal(new[filled == 0], ctpa[filled == 0])
    if not alone:
        assert np.abs(new_nct - nct - 30 * filled)[filled > 0].mean() < 3
