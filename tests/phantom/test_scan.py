import numpy as np
import pytest

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, build_anatomy, with_emboli, without_emboli
from cpmn.phantom.materials import FIRST_CLOT, Tissue
from cpmn.phantom.scan import CLOT_SHARE, Phase, Scan, clot_labels, draw_phase, phase_grid, scan_phase

PHASES: tuple[Phase, ...] = ("nct", "ctpa")
LIMITS = {"LUNG": (-940, -770), "FAT": (-110, -50), "MUSCLE": (45, 75), "AORTA": (30, 450), "ARTERY": (30, 500)}
"""Domain facts, section 4; lung of the NCT is denser or lighter by the breathing."""


def centers_of(scan: Scan, clot_id: int) -> np.ndarray:
    """Centres (n, 3) in mm of a clot's voxels."""
    return np.argwhere(scan.clots == clot_id)[:, ::-1] * scan.grid.spacing + np.array(scan.grid.origin)


@pytest.fixture(scope="module", params=PHASES)
def phase(request: pytest.FixtureRequest) -> Phase:
    return request.param


@pytest.fixture(scope="module")
def canvas(scanned, phase):
    return draw_phase(scanned.config, scanned.anatomy, phase)


@pytest.fixture(scope="module")
def plain_canvas(plain, phase):
    return draw_phase(plain.config, plain.anatomy, phase)


def test_tissues_have_their_attenuation(plain, phase, plain_canvas):
    table = getattr(plain.anatomy.attenuation, phase)
    for name, (low, high) in LIMITS.items():
        pure = plain_canvas.fraction(Tissue[name]) == 1
        assert pure.sum() >= 30, name
        values = plain.scans[phase].clean[pure]
        assert low <= np.percentile(values, 2) <= np.percentile(values, 98) <= high, name
        if name != "LUNG":
            assert values == pytest.approx(table[Tissue[name]], abs=0.01)
    assert plain.scans[phase].clean[:, 0, 0] == pytest.approx(-1000)


def test_bone_is_bright(plain, phase, plain_canvas):
    bone = plain.scans[phase].clean[plain_canvas.fraction(Tissue.CORTICAL_BONE) > 0.9]
    assert np.median(bone) > 600


def test_the_lungs_hold_an_adults_volume(scanned, phase, canvas):
    litres = canvas.fraction(Tissue.LUNG).sum() * scanned.scans[phase].grid.voxel_ml / 1000
    assert 1.5 < litres < 6


def test_both_fields_of_view_hold_all_of_the_lungs(phase, canvas):
    lung = canvas.fraction(Tissue.LUNG) > 0
    assert lung.any()
    for axis in range(3):
        ends = lung.take([0, -1], axis=axis)
        assert not ends.any()


def test_lung_keeps_its_mass_between_the_phases(plain):
    mass = {}
    for phase in PHASES:
        scan = plain.twin[phase]
        lung = draw_phase(plain.config, without_emboli(plain.anatomy), phase).fraction(Tissue.LUNG)
        density = float((scan.clean[lung == 1] + 1000).mean())
        mass[phase] = density * float(lung.sum()) * scan.grid.voxel_ml
    assert mass["nct"] == pytest.approx(mass["ctpa"], rel=0.03)


def test_clots_contrast_with_blood_as_configured(scanned, phase, canvas):
    """A voxel full of clot differs from the twin's by the clot's own contrast, whatever else the scan shows."""
    table = getattr(scanned.anatomy.attenuation, phase)
    full = 0
    for clot in scanned.anatomy.clots:
        pure = canvas.fraction(FIRST_CLOT + clot.clot_id) == 1
        full += pure.sum()
        change = (scanned.scans[phase].clean - scanned.twin[phase].clean)[pure]
        if phase == "nct":
            assert change == pytest.approx(clot.over_blood_hu, abs=0.01)
        elif pure.any():
            assert change.mean() == pytest.approx(clot.ctpa_hu - table[Tissue.ARTERY], rel=0.3)
    assert full > 5


def test_invisible_clots_change_no_voxel_of_the_nct(tiny: PhantomConfig, positive: str):
    """So no model whatsoever can tell the patient from its twin: its AUC between them is 0.5."""
    config = tiny.model_copy(update={"difficulty": "invisible"})
    ill = build_anatomy(config, positive)
    scans = [scan_phase(config, anatomy, "nct") for anatomy in (ill, without_emboli(ill))]
    assert len(ill.clots) >= 3
    assert scans[0].clots.any()
    assert (scans[0].hu == scans[1].hu).all()
    assert (scan_phase(config, ill, "ctpa").hu != scan_phase(config, without_emboli(ill), "ctpa").hu).any()


def test_clots_lie_in_arteries_alone(scanned, phase, canvas):
    """Where the patient has clot, the twin has artery: sample by sample."""
    twin = draw_phase(scanned.config, without_emboli(scanned.anatomy), phase)
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
        assert 0.6 < volumes[0] / volumes[1] < 1.7 or max(volumes) < 0.05
    totals = [sum(scanned.scans[phase].clot_ml.values()) for phase in PHASES]
    assert totals[0] == pytest.approx(totals[1], rel=0.25)
    assert 0.7 < totals[0] < 22


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
        assert np.linalg.norm(mapped.mean(axis=0) - own.mean(axis=0)) < 5


def test_clots_move_between_the_phases(scanned):
    centers = np.stack([clot.center for clot in scanned.anatomy.clots])
    assert np.linalg.norm(scanned.anatomy.motion.to_nct(centers) - centers, axis=1).max() > 3


def test_noise_of_a_scan_is_its_difference_to_the_clean_one(scanned, phase):
    scan = scanned.scans[phase]
    residual = (scan.hu - scan.clean)[np.abs(scan.clean) < 900]  # away from the lower limit of storage
    assert residual.std() == pytest.approx(np.sqrt((scan.noise.sd**2).mean()), rel=0.05)


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
