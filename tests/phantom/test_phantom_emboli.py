from collections import Counter

import numpy as np
import pytest

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, build_anatomy
from cpmn.phantom.emboli import PLACES
from cpmn.phantom.rows import patient_id, phantom_label


@pytest.fixture(scope="module")
def patients() -> list[Anatomy]:
    """Six patients with PE."""
    config = PhantomConfig()
    ids = [patient_id(index) for index in range(12) if phantom_label(config.seed, index)]
    return [build_anatomy(config, name) for name in ids]


def test_each_patient_has_clots_from_central_to_subsegmental(patients: list[Anatomy]):
    for anatomy in patients:
        count = Counter(clot.place for clot in anatomy.clots)
        assert 1 <= count["central"] <= 2
        assert 2 <= count["segmental"] <= 4
        assert 1 <= count["subsegmental"] <= 3
        assert [clot.clot_id for clot in anatomy.clots] == list(range(1, len(anatomy.clots) + 1))


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


def test_contrast_is_the_published_range_on_ctpa_and_learnable_on_nct(patients: list[Anatomy]):
    clots = [clot for anatomy in patients for clot in anatomy.clots]
    over, dense = np.array([c.over_blood_hu for c in clots]), np.array([c.ctpa_hu for c in clots])
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
