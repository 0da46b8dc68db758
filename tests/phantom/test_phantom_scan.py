import numpy as np
import pytest

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, build_anatomy, with_emboli, without_emboli
from cpmn.phantom.materials import FIRST_CLOT, Tissue
from cpmn.phantom.render import Grid
from cpmn.phantom.scan import CLOT_SHARE, Phase, Scan, clot_labels, correlated_noise, draw, phase_grid, scan_phase

PHASES: tuple[Phase, ...] = ("nct", "ctpa")
HU = {  # domain facts, section 4; lung of the NCT is denser or lighter by the breathing
    "nct": {"LUNG": (-930, -780), "FAT": (-110, -50), "MUSCLE": (45, 60), "AORTA": (45, 60), "ARTERY": (45, 60)},
    "ctpa": {"LUNG": (-930, -830), "FAT": (-110, -50), "MUSCLE": (50, 75), "AORTA": (100, 450), "ARTERY": (250, 500)},
}


def centers_of(scan: Scan, clot_id: int) -> np.ndarray:
    """Centres (n, 3) in mm of a clot's voxels."""
    return np.argwhere(scan.clots == clot_id)[:, ::-1] * scan.grid.spacing + np.array(scan.grid.origin)


@pytest.fixture(scope="module", params=PHASES)
def phase(request: pytest.FixtureRequest) -> Phase:
    return request.param


@pytest.fixture(scope="module")
def canvas(scanned, phase):
    return draw(scanned.anatomy, scanned.scans[phase].grid, phase, scanned.config.subsample_mm)


def test_tissues_have_their_attenuation(scanned, phase, canvas):
    for name, (low, high) in HU[phase].items():
        pure = canvas.fraction(Tissue[name]) == 1
        assert pure.sum() >= 30, name
        values = scanned.scans[phase].clean[pure]
        assert low <= np.percentile(values, 2) <= np.percentile(values, 98) <= high, name
    assert scanned.scans[phase].clean[:, 0, 0] == pytest.approx(-1000)


def test_bone_is_bright(scanned, phase, canvas):
    bone = scanned.scans[phase].clean[canvas.fraction(Tissue.CORTICAL_BONE) > 0.9]
    assert np.median(bone) > 600


def test_the_lungs_hold_an_adults_volume(scanned, phase, canvas):
    litres = canvas.fraction(Tissue.LUNG).sum() * scanned.scans[phase].grid.voxel_ml / 1000
    assert 2 < litres < 6


def test_both_fields_of_view_hold_all_of_the_lungs(phase, canvas):
    lung = canvas.fraction(Tissue.LUNG) > 0
    assert lung.any()
    for axis in range(3):
        ends = lung.take([0, -1], axis=axis)
        assert not ends.any()


def test_lung_keeps_its_mass_between_the_phases(scanned):
    mass = {}
    for phase in PHASES:
        scan = scanned.twin[phase]
        lung = draw(without_emboli(scanned.anatomy), scan.grid, phase, scanned.config.subsample_mm).fraction(
            Tissue.LUNG
        )
        pure = lung == 1
        density = float((scan.clean[pure] + 1000).mean())
        mass[phase] = density * float(lung.sum()) * scan.grid.voxel_ml
    assert mass["nct"] == pytest.approx(mass["ctpa"], rel=0.03)


def test_clots_contrast_with_blood_as_configured(scanned, phase, canvas):
    table = scanned.anatomy.attenuation
    for clot in scanned.anatomy.clots:
        label = FIRST_CLOT + clot.clot_id
        assert 15 <= table.nct[label] - table.nct[Tissue.ARTERY] <= 35
        assert 6 <= table.ctpa[label] <= 63
        pure = canvas.fraction(label) == 1
        expected = table.nct[label] if phase == "nct" else table.ctpa[label]
        assert scanned.scans[phase].clean[pure] == pytest.approx(expected, abs=0.01)


def test_clots_lie_in_arteries_alone(scanned, phase, canvas):
    """Where the patient has clot, the twin has artery: sample by sample."""
    twin = draw(without_emboli(scanned.anatomy), scanned.scans[phase].grid, phase, scanned.config.subsample_mm)
    clot = canvas.labels > FIRST_CLOT
    assert clot.any()
    assert (twin.labels[clot] == Tissue.ARTERY).all()
    assert (twin.labels[~clot] == canvas.labels[~clot]).all()


def test_twin_differs_in_clot_voxels_alone(scanned, phase, canvas):
    with_clots, twin = scanned.scans[phase], scanned.twin[phase]
    touched = (canvas.labels > FIRST_CLOT).any(axis=-1)
    assert (with_clots.hu != twin.hu).any()
    assert (with_clots.hu[~touched] == twin.hu[~touched]).all()
    assert (with_clots.clean[~touched] == twin.clean[~touched]).all()
    assert not twin.clots.any()
    assert twin.clot_ml == {}


def test_clot_ids_are_the_same_in_both_phases_and_none_is_lost(scanned):
    ids = {clot.clot_id for clot in scanned.anatomy.clots}
    for scan in scanned.scans.values():
        assert set(np.unique(scan.clots)) - {0} == ids == set(scan.clot_ml)


def test_clot_volumes_agree_between_the_phases(scanned):
    for clot in scanned.anatomy.clots:
        volumes = [scanned.scans[phase].clot_ml[clot.clot_id] for phase in PHASES]
        assert 0.6 < volumes[0] / volumes[1] < 1.7
    totals = [sum(scanned.scans[phase].clot_ml.values()) for phase in PHASES]
    assert totals[0] == pytest.approx(totals[1], rel=0.25)
    assert 0.8 < totals[0] < 25


def test_label_voxels_hold_at_least_half_clot(scanned, phase, canvas):
    labels = scanned.scans[phase].clots
    for clot_id in np.unique(labels[labels > 0]):
        share = canvas.fraction(FIRST_CLOT + int(clot_id))
        own = labels == clot_id
        if own.sum() > 1:
            assert (share[own] >= CLOT_SHARE).all()
        assert not ((share >= CLOT_SHARE) & ~own).any()


def test_nct_truth_is_the_ctpa_mask_carried_by_the_motion(scanned):
    """The centre of every NCT clot voxel maps into, or beside, a CTPA voxel of the same clot."""
    truth, mask = scanned.scans["nct"], scanned.scans["ctpa"]
    for clot_id in range(1, len(scanned.anatomy.clots) + 1):
        points = centers_of(truth, clot_id)
        mapped, own = scanned.anatomy.motion.to_ctpa(points), centers_of(mask, clot_id)
        gaps = np.linalg.norm(mapped[:, None] - own, axis=-1).min(axis=1)
        assert gaps.max() < 6.2  # a voxel's diagonal is 5.2 mm in CTPA, 6.2 mm in NCT
        assert np.linalg.norm(mapped.mean(axis=0) - own.mean(axis=0)) < 4


def test_clots_move_between_the_phases(scanned):
    centers = np.stack([clot.center for clot in scanned.anatomy.clots])
    assert np.linalg.norm(scanned.anatomy.motion.to_nct(centers) - centers, axis=1).max() > 3


def test_noise_is_correlated_and_of_the_configured_size():
    grid = Grid((60, 60, 40), (2.0, 2.0, 4.0), (0.0, 0.0, 0.0))
    noise = correlated_noise(grid, 12.0, 4.0, np.random.default_rng(0))
    assert noise.std() == pytest.approx(12, rel=1e-3)
    assert abs(noise.mean()) < 1
    neighbours = np.corrcoef(noise[:, :, :-1].ravel(), noise[:, :, 1:].ravel())[0, 1]
    # Smoothing white noise with sigma s gives exp(-d^2 / 4 s^2) at distance d.
    assert neighbours == pytest.approx(np.exp(-(2**2) / (4 * (4 / 2.355) ** 2)), abs=0.05)
    far = np.corrcoef(noise[:, :, :-8].ravel(), noise[:, :, 8:].ravel())[0, 1]
    assert abs(far) < 0.05


def test_noise_of_a_scan_is_its_difference_to_the_clean_one(scanned, phase):
    scan = scanned.scans[phase]
    residual = (scan.hu - scan.clean)[np.abs(scan.clean) < 900]  # away from the lower limit of storage
    expected = scanned.config.nct_noise_hu if phase == "nct" else scanned.config.ctpa_noise_hu
    assert residual.std() == pytest.approx(expected, rel=0.05)


def test_noise_of_the_phases_is_independent(scanned):
    one, two = (scanned.scans[phase] for phase in PHASES)
    shape = tuple(slice(0, min(a, b)) for a, b in zip(one.hu.shape, two.hu.shape, strict=True))
    residuals = [(scan.hu - scan.clean)[shape].ravel() for scan in (one, two)]
    assert abs(np.corrcoef(*residuals)[0, 1]) < 0.02


def test_demo_scans_have_at_most_a_million_voxels():
    config = PhantomConfig()
    anatomy = build_anatomy(config, "phantom-001")
    for phase in PHASES:
        assert np.prod(phase_grid(config, anatomy, phase).size) <= 1e6


def test_grid_position_is_the_patients_and_not_the_labels(tiny: PhantomConfig, anatomy: Anatomy):
    twin = without_emboli(anatomy)
    for phase in PHASES:
        assert phase_grid(tiny, anatomy, phase) == phase_grid(tiny, twin, phase)
    other = build_anatomy(tiny, "phantom-003")
    assert phase_grid(tiny, other, "nct").size == phase_grid(tiny, anatomy, "nct").size
    assert phase_grid(tiny, other, "nct").origin != phase_grid(tiny, anatomy, "nct").origin


def test_a_clot_below_half_a_voxel_keeps_its_fullest_free_voxel():
    big, small = np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 3), np.float32)
    big[0, 0, 0], small[0, 0, 0], small[1, 1, 2] = 0.6, 0.3, 0.2
    labels = clot_labels({1: big, 2: small}, big.shape)
    assert labels[0, 0, 0] == 1
    assert labels[1, 1, 2] == 2
    assert (labels > 0).sum() == 2


def test_a_clot_that_every_sample_misses_keeps_the_voxel_of_its_centre(anatomy: Anatomy, tiny: PhantomConfig):
    config = tiny.model_copy(
        update={"nct_spacing": (40.0, 40.0, 40.0), "ctpa_spacing": (40.0, 40.0, 40.0), "subsample_mm": 40.0}
    )
    for phase in PHASES:
        scan = scan_phase(config, anatomy, phase)
        assert set(np.unique(scan.clots)) - {0} == {clot.clot_id for clot in anatomy.clots}


def test_a_normal_patient_has_a_twin_with_emboli(tiny: PhantomConfig, negative: str):
    normal = build_anatomy(tiny, negative)
    assert (normal.label, normal.clots) == (0, ())
    ill = with_emboli(tiny, normal)
    assert ill.label == 1
    assert ill.clots
    below = slice(0, FIRST_CLOT)
    assert (ill.attenuation.nct[below] == normal.attenuation.nct[below]).all()
