from collections import Counter

import numpy as np
import pytest

from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, build_anatomy, with_emboli
from cpmn.phantom.emboli import CHRONIC_FORMS, PART, PLACES, Site, clot_shape, draw_volumes


@pytest.fixture(scope="module")
def patients() -> list[Anatomy]:
    """Six patients with PE."""
    config = PhantomConfig()
    ids = [patient_id(index) for index in range(12) if phantom_label(config.seed, index)]
    return [build_anatomy(config, name) for name in ids]


def test_number_and_volume_of_clots_are_as_published():
    """About 10 per patient, median 0.3 mL, total 1-20 mL."""
    random = np.random.default_rng(0)
    patients = [draw_volumes(random) for _ in range(300)]
    assert np.mean([len(volumes) for volumes in patients]) == pytest.approx(10, abs=0.7)
    assert np.median(np.concatenate(patients)) == pytest.approx(0.3, rel=0.1)
    totals = [sum(volumes) for volumes in patients]
    assert min(totals) >= 1
    assert max(totals) <= 20


def test_clots_lie_from_central_to_subsegmental(patients: list[Anatomy]):
    place = Counter(clot.place for anatomy in patients for clot in anatomy.clots)
    assert min(place[name] for name in PLACES) >= 8
    for anatomy in patients:
        assert len(anatomy.clots) >= 3
        assert [clot.clot_id for clot in anatomy.clots] == list(range(1, len(anatomy.clots) + 1))


@pytest.mark.parametrize("form", ["full", "partial", "eccentric", "recanalised", "web"])
def test_a_form_has_the_volume_that_was_drawn(form: str):
    """In a straight artery of 4 mm radius; `part` is what the volume is planned with."""
    radius, length, part = 4.0, 60.0, PART.get(form, 0.7)
    line = np.column_stack([np.zeros(30), np.zeros(30), np.linspace(0, length, 30)])
    volumes = []
    points = np.random.default_rng(1).uniform((-5, -5, 10), (5, 5, 50), (20000, 3)).astype(np.float32)
    lumen = np.hypot(points[:, 0], points[:, 1]) < radius
    for seed in range(12):
        shape = clot_shape(Site(0, line, np.full(30, radius)), form, part, np.random.default_rng(seed))
        volumes.append(((shape.distance(points) < 0) & lumen).mean() * 100)
    assert np.mean(volumes) == pytest.approx(np.pi * (part * radius) ** 2, rel=0.15)


def test_clots_start_in_arteries_of_their_place(patients: list[Anatomy]):
    for anatomy in patients:
        for clot in anatomy.clots:
            branch = anatomy.arteries.branches[clot.artery]
            assert branch.level == clot.level
            assert clot.level in PLACES[clot.place]


def test_full_and_partial_occlusion_occur(patients: list[Anatomy]):
    kinds = Counter(clot.occlusion for anatomy in patients for clot in anatomy.clots)
    assert kinds["full"] >= 3
    assert kinds["partial"] >= 3


def test_chronic_clots_occur_in_some_patients_and_are_brighter_on_ctpa():
    config = PhantomConfig()
    normal = build_anatomy(config, next(patient_id(i) for i in range(2) if not phantom_label(config.seed, i)))
    ill = [with_emboli(config.model_copy(update={"seed": seed}), normal) for seed in range(40)]
    chronic = [clot for anatomy in ill for clot in anatomy.clots if clot.age == "chronic"]
    assert 1 <= sum(any(clot.age == "chronic" for clot in anatomy.clots) for anatomy in ill) <= 14
    assert {clot.form for clot in chronic} == set(CHRONIC_FORMS)
    assert np.mean([clot.ctpa_hu for clot in chronic]) == pytest.approx(87, abs=5)


def test_difficulties_differ_in_contrast_alone():
    config = PhantomConfig()
    name = next(patient_id(i) for i in range(2) if phantom_label(config.seed, i))
    one, two = (build_anatomy(config.model_copy(update={"difficulty": d}), name) for d in ("learnable", "invisible"))
    assert [clot.center.tolist() for clot in one.clots] == [clot.center.tolist() for clot in two.clots]
    assert [clot.ctpa_hu for clot in one.clots] == [clot.ctpa_hu for clot in two.clots]
    assert {clot.over_blood_hu for clot in two.clots} == {0.0}


def test_contrast_is_the_published_range_on_ctpa_and_learnable_on_nct(patients: list[Anatomy]):
    clots = [clot for anatomy in patients for clot in anatomy.clots]
    over = np.array([c.over_blood_hu for c in clots])
    dense = np.array([c.ctpa_hu for c in clots if c.age == "acute"])
    assert over.min() >= 15
    assert over.max() <= 35
    assert over.std() > 3
    assert dense.min() >= 6
    assert dense.max() <= 63
    assert dense.mean() == pytest.approx(33, abs=6)


def test_clots_keep_apart(patients: list[Anatomy]):
    for anatomy in patients:
        for one in anatomy.clots:
            for two in anatomy.clots:
                if one.clot_id < two.clot_id:
                    assert np.linalg.norm(one.center - two.center) > 6


def test_peripheral_clots_lie_in_the_lungs(patients: list[Anatomy]):
    for anatomy in patients:
        for clot in anatomy.clots:
            if clot.place != "central":
                assert anatomy.lungs.distance(clot.center.astype(np.float32)[None])[0] < 2


def test_emboli_come_from_their_own_stream(patients: list[Anatomy]):
    """Another difficulty or count of clots cannot move the anatomy: it is drawn without touching their stream."""
    config = PhantomConfig()
    again = build_anatomy(config, patients[0].patient_id)
    assert again.arteries.branches[-1].points == pytest.approx(patients[0].arteries.branches[-1].points)
    assert [clot.center.tolist() for clot in again.clots] == [clot.center.tolist() for clot in patients[0].clots]
