"""What each kind of patient moves: gradients of the loss, by pathway and head."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from cpmn.config.train import TrainConfig
from cpmn.config.variants import resolve_variant
from cpmn.model.network import build_pathway
from cpmn.train.objective import Pathways, training_loss
from cpmn.train.places import with_chances
from cpmn.train.sampling import sample_batch
from cpmn.train.subjects import Subject
from tests.settings import train_config

SHAPE = (16, 16, 16)
OFF: dict[str, Any] = {"mutual_weight": 0.0, "alignment_weight": 0.0}


def subject(name: str, label: int, phases: Sequence[str], outlined: bool = True) -> Subject:
    random = np.random.default_rng(len(name))
    hu = {"nct": random.integers(30, 60, SHAPE), "ctpa": random.integers(150, 350, SHAPE)}
    embolus = np.zeros(SHAPE, np.uint8)
    if label and outlined:
        embolus[6:10, 6:10, 6:10] = 1
    everywhere = np.argwhere(np.ones(SHAPE, bool)).astype(np.int16)
    nct, ctpa = (hu[phase].astype(np.int16) if phase in phases else None for phase in ("nct", "ctpa"))
    one = Subject(name, label, nct, ctpa, embolus, np.argwhere(embolus).astype(np.int16), everywhere)
    return one if outlined else one.without_outline()


def settings(base: str = "cpmn", **loss: float) -> TrainConfig:
    small = train_config(channels=(8, 8), patch_size=(8, 8, 8), batch_size=2, warmup_fraction=0)
    return resolve_variant(small, "mine", {"mine": {"base": base, "loss": loss}})


def moved(subjects: list[Subject], config: TrainConfig) -> dict[str, float]:
    """Sum of the absolute gradients by pathway and head, over a few steps."""
    phases = config.network.pathways
    pathways = Pathways({phase: build_pathway((8, 8), ((2, 2, 2),), 0) for phase in phases})
    for step in range(6):
        training_loss(pathways, sample_batch(subjects, config, step), config, step)["total"].backward()
    found = {}
    for phase in phases:
        for head in ("segment", "witness", "stem"):
            grads = [p.grad for name, p in pathways[phase].named_parameters() if name.startswith(head)]
            found[f"{phase} {head}"] = float(sum(Tensor.abs(g).sum() for g in grads if g is not None))
    return found


@pytest.mark.parametrize("label", [0, 1])
def test_an_outlined_pair_moves_everything(label):
    assert all(moved([subject("a", label, ("nct", "ctpa"))], settings()).values())


def test_a_pair_with_a_report_teaches_the_nct_by_the_ctpa_reading_and_never_the_other_way():
    pair = [subject("a", 1, ("nct", "ctpa"), outlined=False)]
    found = moved(pair, settings(**OFF))
    assert found["nct segment"] > 0  # from what the CTPA pathway reads
    assert found["ctpa segment"] == 0  # nobody outlined its clots
    assert found["ctpa witness"] > 0  # its label
    silent = moved(pair, settings(**OFF, teaching_weight=0.0))
    assert silent["nct segment"] == 0
    assert silent["nct witness"] > 0


def test_mutual_learning_gives_the_ctpa_pathway_nothing_where_no_outline_is():
    pair = [subject("a", 1, ("nct", "ctpa"), outlined=False)]
    assert moved(pair, settings(alignment_weight=0.0))["ctpa segment"] == 0


@pytest.mark.parametrize("constant", ["peer", "none", "ctpa"])
def test_features_of_a_ctpa_that_nobody_outlined_are_not_drawn_towards_the_nct(constant):
    config = settings(mutual_weight=0.0, alignment_weight=5.0, constant=constant)
    outlined, reported = ([subject("a", 1, ("nct", "ctpa"), outlined=one)] for one in (True, False))
    alone, beside = moved(reported, settings(**OFF)), moved(reported, config)
    assert beside["ctpa stem"] == pytest.approx(alone["ctpa stem"])
    assert beside["nct stem"] != pytest.approx(alone["nct stem"])
    drawn = moved(outlined, config)["ctpa stem"] != pytest.approx(moved(outlined, settings(**OFF))["ctpa stem"])
    assert drawn is (constant != "ctpa")


@pytest.mark.parametrize("phases", [("nct",), ("nct", "ctpa")])
def test_an_outlined_nct_moves_both_tasks_of_each_pathway_that_it_has(phases):
    pathways = "nct_only" if phases == ("nct",) else "cpmn"
    assert all(moved([subject("a", 1, phases)], settings(pathways)).values())


def test_a_ctpa_alone_moves_the_ctpa_pathway_alone():
    nct = subject("n", 0, ("nct",))
    without, with_ctpa = (moved(s, settings(**OFF)) for s in ([nct], [nct, subject("c", 1, ("ctpa",))]))
    assert without["ctpa segment"] == without["ctpa witness"] == 0
    assert with_ctpa["ctpa segment"] > 0
    assert with_ctpa["ctpa witness"] > 0
    assert {k: v for k, v in with_ctpa.items() if k.startswith("nct")} == pytest.approx(
        {k: v for k, v in without.items() if k.startswith("nct")}
    )


def test_a_ctpa_alone_with_a_report_moves_its_classification():
    found = moved([subject("n", 0, ("nct",)), subject("c", 1, ("ctpa",), outlined=False)], settings(**OFF))
    assert found["ctpa segment"] == 0
    assert found["ctpa witness"] > 0


@pytest.mark.parametrize("label", [0, 1])
def test_an_nct_alone_moves_classification_and_without_pe_segmentation_too(label):
    found = moved([subject("a", label, ("nct",), outlined=not label)], settings("nct_only"))
    assert found["nct witness"] > 0
    assert (found["nct segment"] > 0) == (label == 0)


def test_a_reader_of_ctpa_learns_from_ctpas_alone():
    config = train_config(channels=(8, 8), patch_size=(8, 8, 8), batch_size=2, pathways=("ctpa",))
    batch = sample_batch([subject("c", 1, ("ctpa",)), subject("d", 0, ("ctpa",))], config, 0)
    assert batch.nct is None
    assert len(batch) == 2
    assert all(moved([subject("c", 1, ("ctpa",))], config).values())


def box(name: str, ends: tuple[int, ...], **changes: Any) -> Subject:
    """A PE patient of 32 voxels along each axis, with clot from 0 to below `ends`."""
    clot = np.zeros((32, 32, 32), np.uint8)
    clot[tuple(slice(end) for end in ends)] = 1
    everywhere = np.argwhere(np.ones(clot.shape, bool)).astype(np.int16)
    nct = np.full(clot.shape, 45, np.int16)
    return replace(Subject(name, 1, nct, None, clot, np.argwhere(clot).astype(np.int16), everywhere), **changes)


def chances(*subjects: Subject) -> list[float]:
    return [one.clot_chance for one in with_chances(subjects, settings("nct_only"))]


def test_the_label_of_a_patch_is_the_chance_that_it_holds_clot():
    unknown = box("c", (4, 4, 4)).without_outline()
    normal = subject("n", 0, ("nct",))
    of_known, chance, of_normal = chances(box("a", (4, 4, 4)), unknown, normal)
    assert (of_known, of_normal) == (0, 0)
    assert 0.0 < chance < 0.3  # patches of 8 voxels, one corner of eight
    assert chances(unknown, normal) == [0.1, 0]
    batch = sample_batch([replace(unknown, clot_chance=0.25)], settings("nct_only"), 0)
    assert batch.nct is not None
    assert batch.nct.weight is not None
    assert batch.nct.present.tolist() == [0.25, 0.25]
    assert not batch.nct.weight.any()


def test_a_networks_outlines_leave_a_smaller_chance_to_what_they_leave_out():
    """Clot in the lower half, of which networks outlined a half: half of the patches hold clot, a quarter is marked."""
    known, drawn = box("a", (16, 32, 32)), box("b", (16, 16, 32), complete=False)
    unknown = known.without_outline()
    _, left, chance = chances(known, drawn, unknown)
    marked = chances(drawn, unknown)[1]  # with nobody else the networks' own outlines are what is known
    assert marked < chance
    assert left == pytest.approx((chance - marked) / (1 - marked), abs=1e-6)
    assert chances(drawn)[0] == marked
    assert chances(box("a", (4, 4, 4)), box("b", (32, 32, 32), complete=False))[1] == 0


def test_a_networks_outline_tells_what_it_marks_and_its_border_and_nothing_of_the_rest():
    """4 voxels of clot along each axis and 4.5 mm about them: 2 voxels of 2 mm along x, 1 of 3 mm along z."""
    drawn = replace(subject("a", 1, ("nct", "ctpa")), complete=False, clot_chance=0.25, spacing=(2.0, 2.0, 3.0))
    whole = settings(**OFF).changed(network={"patch_size": (16, 16, 16)})
    batch = sample_batch([drawn], whole, 0)
    for phase in (batch.nct, batch.ctpa):
        assert phase is not None
        assert phase.weight is not None
        weight = phase.weight[0, 0]
        assert weight[6:10, 6:10, 6:10].all()
        assert [int(weight.sum(dim=axes).bool().sum()) for axes in ((1, 2), (0, 2), (0, 1))] == [6, 8, 8]
        assert phase.present.tolist() == [1.0, 1.0]
    people = sample_batch([replace(drawn, complete=True)], whole, 0)
    assert people.nct is not None
    assert people.nct.weight is None


@pytest.mark.parametrize("base", ["nct_only", "cpmn", "shuffled_ctpa"])
def test_where_a_network_outlined_nothing_no_outline_teaches(base):
    """As of a patient whom nobody outlined: its CTPA pathway teaches the NCT's there, if it is the patient's own."""
    unknown = subject("a", 1, ("nct", "ctpa"), outlined=False)
    config = settings(base, alignment_weight=0.0)
    nobody, drawn, person = (
        moved([replace(unknown, outlined=outlined, complete=complete)], config)
        for outlined, complete in ((False, False), (True, False), (True, True))
    )
    assert drawn == pytest.approx(nobody)
    assert (drawn["nct segment"] > 0) is (base == "cpmn")
    assert person["nct segment"] > 0
