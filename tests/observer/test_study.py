"""The observer on small phantom patients."""

from dataclasses import replace

import numpy as np
import pytest

from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.config.phantom import PhantomConfig
from cpmn.observer.gaussian import Template
from cpmn.observer.naive import BRIGHTEST_ML, bright_artery_ml, brightest_artery_hu
from cpmn.observer.priors import DIFFICULTIES
from cpmn.observer.score import score
from cpmn.observer.sites import Candidates, templates_of
from cpmn.observer.study import clot_signal, study_patient
from cpmn.phantom.anatomy import build_anatomy, without_emboli
from cpmn.phantom.materials import Tissue
from cpmn.phantom.scan import draw_phase, scan_phase
from cpmn.scoring.metrics import mean

SPACING = (4.0, 4.0, 5.0)


@pytest.fixture(scope="module")
def config() -> PhantomConfig:
    return PhantomConfig(seed=7, nct_spacing=SPACING, subsample_mm=2.5, nct_noise_hu=4.0)


@pytest.fixture(scope="module")
def positive(config: PhantomConfig) -> str:
    return next(patient_id(index) for index in range(2) if phantom_label(config.seed, index))


@pytest.fixture(scope="module")
def record(config: PhantomConfig, positive: str) -> dict:
    return study_patient(config, positive, (1.0, 200.0), sets=15)


def test_clots_add_what_the_phantoms_scan_shows(config, positive):
    anatomy = build_anatomy(config, positive)
    twin = without_emboli(anatomy)
    scan, empty = scan_phase(config, anatomy, "nct"), scan_phase(config, twin, "nct")
    canvas = draw_phase(config, twin, "nct")
    contrasts = [clot.over_blood_hu for clot in anatomy.clots]
    signal = clot_signal(templates_of(anatomy.clots, canvas), contrasts, scan.hu.shape)
    np.testing.assert_allclose(signal, scan.clean - empty.clean, atol=1e-3)
    assert signal.max() > 5


def test_template_lies_inside_the_artery(config, positive):
    anatomy = build_anatomy(config, positive)
    canvas = draw_phase(config, without_emboli(anatomy), "nct")
    artery = canvas.fraction(Tissue.ARTERY)
    for template in templates_of(anatomy.clots, canvas):
        assert (template.share <= artery[template.box] + 1e-6).all()


def test_reading_has_every_difficulty_and_noise(record):
    found = [(reading["difficulty"], reading["noise_factor"]) for reading in record["readings"]]
    assert found == [(difficulty, noise) for difficulty in DIFFICULTIES for noise in (1.0, 200.0)]
    assert len(record["clots"]) == len(record["readings"][0]["clot_scores"])


def test_bright_clots_in_little_noise_are_certain_and_in_much_noise_unknowable(record):
    learnable = [reading for reading in record["readings"] if reading["difficulty"] == "learnable"]
    assert learnable[0]["score"] > 20
    assert abs(learnable[1]["score"]) < 1


def test_who_takes_the_blood_for_even_sees_bright_clots_less_surely(record):
    read = {(one["difficulty"], one["noise_factor"]): one for one in record["readings"]}
    assert 0 < read["learnable", 1.0]["score_of_even"] < read["learnable", 1.0]["score"]
    assert "score_of_even" not in read["learnable", 200.0]


def test_noise_hides_which_stretch_of_artery_is_brightest(record):
    """Without noise the brightest stretch is the learnable clot's contrast or the blood's waves, not hundreds of HU."""
    read = {(one["difficulty"], one["noise_factor"]): one for one in record["readings"]}
    clean = {name: read[name, 1.0]["brightest_artery_hu_without_noise"] for name in DIFFICULTIES}
    assert 10 < clean["learnable"] < 80
    assert clean["realistic"] < clean["learnable"]
    assert read["learnable", 200.0]["brightest_artery_hu"] > 5 * clean["learnable"]


def test_ratio_is_calibrated_without_emboli():
    """E[exp(score) | absent] = 1 where sites do not overlap: the only check that no factor is lost."""
    count, sites, q, energy = 300, 3, 0.3, 0.0005
    box = (slice(0, 1),) * 3
    candidates = Candidates(
        templates=[Template(box, np.ones((1, 1, 1)))] * sites,
        energy=np.full(sites, energy),
        site=np.arange(sites),
        probability=dict.fromkeys(range(sites), q),
    )
    random = np.random.default_rng(0)
    for difficulty in DIFFICULTIES:
        draws = random.normal(0, np.sqrt(energy), (count, sites))
        ratios = [np.exp(score(candidates, u, difficulty).patient) for u in draws]
        estimate = mean(ratios, samples=100)
        assert estimate["low"] is not None
        assert estimate["high"] is not None
        width = estimate["high"] - estimate["low"]
        assert abs(np.mean(ratios) - 1) < 1.2 * width, difficulty


def test_more_noise_than_prewhitened_for_is_taken_into_account():
    template = Template((slice(0, 1),) * 3, np.ones((1, 1, 1)))
    candidates = Candidates([template], np.array([0.04]), np.array([5]), {5: 0.5})
    twice = replace(candidates, energy=candidates.energy / 4)
    u = np.array([1.3])
    assert score(candidates, u, "mixed", noise=2.0) == score(twice, u / 4, "mixed")


def test_half_of_the_candidates_keeps_them_in_step():
    templates = [Template((slice(i, i + 1),) * 3, np.ones((1, 1, 1))) for i in range(5)]
    half = Candidates(templates, np.arange(5.0), np.arange(5), dict.fromkeys(range(5), 0.1)).every_second()
    assert [template.box[0].start for template in half.templates] == [0, 2, 4]
    assert half.energy.tolist() == [0, 2, 4]
    assert half.site.tolist() == [0, 2, 4]


def test_bright_artery_volume_counts_the_bright_stretch_alone():
    artery = np.zeros((30, 12, 12))
    artery[:, 4:8, 4:8] = 1
    hu = np.where(artery > 0, 50.0, -850.0)
    assert bright_artery_ml(hu, artery, (2.0, 2.0, 2.0)) == 0  # the dark lung beside it does not count
    hu[5:14, 4:8, 4:8] += 30
    assert bright_artery_ml(hu, artery, (2.0, 2.0, 2.0)) == pytest.approx(9 * 16 * 0.008, rel=0.25)


def test_brightest_artery_is_measured_against_the_median_of_the_patient():
    artery = np.zeros((30, 12, 12))
    artery[:, 4:8, 4:8] = 1
    hu = np.where(artery > 0, 50.0, 900.0)
    spacing = (2.0, 2.0, 2.0)
    assert brightest_artery_hu(hu, artery, spacing) == pytest.approx(0, abs=1e-3)  # what is no artery does not count
    hu[5:14, 4:8, 4:8] += 30  # 1.2 mL, more than is looked at
    assert brightest_artery_hu(hu, artery, spacing) == pytest.approx(30, rel=0.05)
    assert brightest_artery_hu(hu - 25, artery, spacing) == pytest.approx(brightest_artery_hu(hu, artery, spacing))
    voxels = round(BRIGHTEST_ML * 1000 / 8)
    lone = np.where(artery > 0, 0.0, 900.0)
    lone[20, 5, 5] = 100.0
    assert 100 / voxels / 3 < brightest_artery_hu(lone, artery, spacing) <= 100 / voxels + 1  # shared by the volume
