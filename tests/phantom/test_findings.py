import numpy as np
import pytest

from cpmn.cohort.phantom import patient_id
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom import findings
from cpmn.phantom.anatomy import Anatomy, build_anatomy
from cpmn.phantom.artefacts import bone_streaks, vein_streaks
from cpmn.phantom.fields import smooth_field
from cpmn.phantom.materials import FIRST_CLOT, Tissue, blood_hu, draw_attenuation, draw_haematocrit
from cpmn.phantom.render import Canvas, Grid
from cpmn.phantom.scan import draw
from cpmn.phantom.torso import draw_habitus

KINDS = [*findings.EARLY, *findings.LATE]
TISSUES = [tissue for tissue in Tissue if Tissue.ATELECTASIS <= tissue <= Tissue.FILLING]


@pytest.fixture(scope="module")
def patients() -> list[Anatomy]:
    config = PhantomConfig(seed=11)
    return [build_anatomy(config, patient_id(index)) for index in range(12)]


def small_canvas(anatomy: Anatomy) -> Canvas:
    return draw(anatomy, Grid((70, 50, 50), (4.5, 4.5, 5.0), (-155.0, -110.0, -120.0)), "ctpa", 2.5)


@pytest.fixture(scope="module")
def burdened() -> Anatomy:
    """A patient with everything."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in findings.SHARES:
            patch.setitem(findings.SHARES, kind, 1.0)
        patch.setattr(findings, "NODULES", 8.0)
        return build_anatomy(PhantomConfig(seed=11), patient_id(0))


def test_every_kind_can_be_drawn_and_seen(burdened: Anatomy):
    assert {kind for kind in KINDS if not burdened.findings.counts()[kind]} == set()
    seen = set(np.unique(small_canvas(burdened).labels))
    assert {tissue.name for tissue in TISSUES if tissue not in seen} == set()


def test_no_patient_has_every_kind(patients: list[Anatomy]):
    for kind in findings.SHARES:
        assert not all(anatomy.findings.counts()[kind] for anatomy in patients), kind
    assert sum(sum(anatomy.findings.counts().values()) for anatomy in patients) > 5 * len(patients)


def test_findings_do_not_depend_on_emboli(patients: list[Anatomy], monkeypatch: pytest.MonkeyPatch):
    """The patient whose label is turned round has the same anatomy, findings and attenuation of everything else."""
    monkeypatch.setattr("cpmn.phantom.anatomy.phantom_label", lambda seed, index: 1 - int(index % 2))
    config = PhantomConfig(seed=11)
    one = build_anatomy(config, patient_id(2))
    monkeypatch.setattr("cpmn.phantom.anatomy.phantom_label", lambda seed, index: int(index % 2))
    two = build_anatomy(config, patient_id(2))
    assert (one.label, two.label) == (1, 0)
    assert one.findings.counts() == two.findings.counts()
    assert one.habitus == two.habitus
    assert (one.attenuation.nct[:FIRST_CLOT] == two.attenuation.nct[:FIRST_CLOT]).all()
    assert (one.attenuation.ctpa[:FIRST_CLOT] == two.attenuation.ctpa[:FIRST_CLOT]).all()


def test_a_kind_moves_no_other(patients: list[Anatomy], monkeypatch: pytest.MonkeyPatch):
    first = patients[0].findings
    monkeypatch.setitem(findings.SHARES, "calcified walls", 1.0)
    monkeypatch.setitem(findings.SHARES, "atelectasis", 0.0)
    again = build_anatomy(PhantomConfig(seed=11), patients[0].patient_id).findings
    assert again.counts()["atelectasis"] == 0
    assert again.counts()["calcified walls"] > 0
    for one, two in zip((*first.early, *first.late), (*again.early, *again.late), strict=True):
        if one.name not in ("calcified walls", "atelectasis"):
            assert repr(one) == repr(two)


def test_a_filling_defect_is_blood_on_nct_and_dark_on_ctpa(patients: list[Anatomy]):
    for anatomy in patients:
        nct, ctpa = anatomy.attenuation.nct, anatomy.attenuation.ctpa
        assert nct[Tissue.FILLING] == nct[Tissue.ARTERY]
        assert ctpa[Tissue.FILLING] < 0.8 * ctpa[Tissue.ARTERY]


def test_anatomy_varies(patients: list[Anatomy]):
    assert np.ptp([anatomy.scale[2] for anatomy in patients]) > 0.06
    assert np.ptp([anatomy.habitus.heart for anatomy in patients]) > 0.1
    assert np.ptp([anatomy.habitus.scoliosis_mm for anatomy in patients]) > 5
    arms = [draw_habitus(np.random.default_rng(seed)).arms_down for seed in range(200)]
    assert 0.05 < np.mean(arms) < 0.25
    volumes = [np.prod(anatomy.scale) * (1 - anatomy.habitus.diaphragm_mm / 100) for anatomy in patients]
    assert max(volumes) > 1.25 * min(volumes)


def test_blood_follows_the_haematocrit():
    random = np.random.default_rng(0)
    blood = np.array([blood_hu(draw_haematocrit(random)) for _ in range(500)])
    assert 35 <= blood.min() < 38
    assert 62 < blood.max() <= 65.3
    assert 40 < np.median(blood) < 60
    assert blood_hu(45) > blood_hu(30)


def test_some_scans_are_poorly_opacified():
    artery = [draw_attenuation(np.random.default_rng(seed)).ctpa[Tissue.ARTERY] for seed in range(300)]
    assert 0.1 < np.mean(np.array(artery) < 200) < 0.2
    assert np.median(artery) > 250


@pytest.mark.parametrize("fwhm", [12.0, 30.0])
def test_smooth_field_has_its_spread_and_width(fwhm: float):
    random = np.random.default_rng(0)
    points = random.uniform(-150, 150, (40000, 3))
    values = smooth_field(points, fwhm, np.random.default_rng(5))
    near = smooth_field(points + np.array((fwhm / 2, 0, 0)), fwhm, np.random.default_rng(5))
    far = smooth_field(points + np.array((3 * fwhm, 0, 0)), fwhm, np.random.default_rng(5))
    assert values.std() == pytest.approx(1, abs=0.12)
    assert np.corrcoef(values, near)[0, 1] > 0.6
    assert abs(np.corrcoef(values, far)[0, 1]) < 0.25


def test_bone_streaks_are_horizontal_and_grow_with_the_bone():
    grid = Grid((60, 50, 30), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0))
    bone = np.zeros((30, 50, 60), np.float32)
    bone[:15, :, 20:30], bone[15:, :, 20:24] = 1, 1
    streaks = bone_streaks(bone, grid, False, np.random.default_rng(0))
    assert streaks[:15].std() > 2 * streaks[15:].std() > 0
    along = np.corrcoef(streaks[:, :, :-1].ravel(), streaks[:, :, 1:].ravel())[0, 1]
    across = np.corrcoef(streaks[:, :-1].ravel(), streaks[:, 1:].ravel())[0, 1]
    assert along > across + 0.3
    assert not bone_streaks(np.zeros_like(bone), grid, True, np.random.default_rng(0)).any()


def test_vein_streaks_lie_beside_the_vein_above_its_end():
    grid = Grid((60, 50, 40), (3.0, 3.0, 3.0), (-90.0, -75.0, -60.0))
    vein = np.array(((-30.0, -18, 0), (-30.0, -18, 100)))
    streaks = vein_streaks(grid, vein, 450.0, np.random.default_rng(0))
    assert np.abs(streaks[:10]).max() < 0.1 * np.abs(streaks[-10:]).max()
    x, y, _ = grid.axes()
    away = np.hypot(x + 30, (y + 18)[:, None])
    assert np.abs(streaks[-10:, away < 8]).max() == 0
    assert streaks[-10:, (away > 9) & (away < 30)].std() > 3 * streaks[-10:, away > 90].std()
    assert streaks.mean() < 0
