"""Hard negatives: when they are looked for, in whom, and where."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import cpmn.train.hard as hard
from cpmn.model.network import build_pathway
from cpmn.train.hard import find_hard, hard_steps, with_hard
from cpmn.train.objective import Pathways
from cpmn.train.processes import World
from cpmn.train.training import Training, new_optimiser
from tests.settings import train_config
from tests.train.test_validation import subject

SIZES = {"patch_size": (16, 16, 8), "channels": (8, 8)}


def training(config) -> Training:
    pathways = Pathways({"nct": build_pathway((8, 8), ((2, 2, 2),), seed=0)})
    return Training(pathways, pathways, *new_optimiser(pathways, config.schedule, 0))


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"steps": 30}, []),
        ({"steps": 30, "hard_fraction": 0.25}, [10, 20]),
        ({"steps": 100, "hard_fraction": 0.25}, [33, 66]),
        ({"steps": 2, "hard_fraction": 0.25}, [1]),
        ({"steps": 1, "hard_fraction": 0.25}, []),
        ({"steps": 40, "hard_fraction": 0.25, "pretraining_fraction": 0.25, "pathways": ("nct",)}, [20, 30]),
    ],
)
def test_they_are_looked_for_after_a_third_and_two_thirds_of_the_steps_proper(settings, steps):
    assert hard_steps(train_config(**settings)) == steps


def test_they_are_what_is_marked_in_patients_without_pe(monkeypatch):
    """Two voxels reach 0.3 in one normal, none in another; a PE patient and one without an NCT are not read."""
    config = train_config(**SIZES)
    state = training(config)
    normal, clean = replace(subject(0), patient="normal"), replace(subject(0), patient="clean")
    alone = replace(subject(0), patient="alone", nct=None, ctpa=normal.nct)
    read = []

    def reading(_pathway, one, *_):
        read.append((one.patient, state.pathways["nct"].training))
        probability = torch.full(one.embolus.shape, 0.29)
        if one.patient == "normal":
            probability[1, 2, 3], probability[7, 15, 0] = 0.3, 0.99
        return type("Read", (), {"probability": probability})

    monkeypatch.setattr(hard, "read_subject", reading)
    subjects = [replace(subject(1), patient="pe"), normal, clean, alone]
    found = find_hard(state, subjects, (3.0, 3.0, 4.0), config, torch.device("cpu"), World())
    assert read == [("normal", False), ("clean", False)]
    assert state.pathways["nct"].training
    assert found.keys() == {"normal"}
    assert found["normal"].tolist() == [[1, 2, 3], [7, 15, 0]]
    given = with_hard(subjects, found)
    assert [len(one.hard_voxels) for one in given] == [0, 2, 0, 0]
    assert given[1].hard_voxels.dtype == np.int16


def test_what_was_found_before_stays(monkeypatch):
    config = train_config(**SIZES)
    state = training(config)
    state.hard = {"a": torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int16)}
    normals = [replace(subject(0), patient=name) for name in "ab"]

    def reading(_pathway, one, *_):
        probability = torch.zeros(one.embolus.shape)
        probability[3, 4, 5], probability[7, 0, 0] = 0.9, 0.9
        return type("Read", (), {"probability": probability})

    monkeypatch.setattr(hard, "read_subject", reading)
    found = find_hard(state, normals, (3.0, 3.0, 4.0), config, torch.device("cpu"), World())
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5], [7, 0, 0]]
    assert found["b"].tolist() == [[3, 4, 5], [7, 0, 0]]
    assert len(state.hard["a"]) == 2  # a training that goes on from here finds the same


def test_a_reader_of_ctpa_is_asked_about_the_ctpa(monkeypatch):
    config = train_config(**SIZES, pathways=("ctpa",))
    state = training(config)
    state.pathways, state.reads = Pathways({"ctpa": build_pathway((8, 8), ((2, 2, 2),), seed=1)}), "ctpa"
    seen = []

    def reading(pathway, one, _spacing, _config, _device, phase, _overlap):
        seen.append((one.patient, pathway is state.pathways["ctpa"], phase))
        return type("Read", (), {"probability": torch.ones(one.embolus.shape)})

    monkeypatch.setattr(hard, "read_subject", reading)
    alone = replace(subject(0), patient="alone", nct=None, ctpa=subject(0).nct)
    found = find_hard(state, [alone, subject(0)], (3.0, 3.0, 4.0), config, torch.device("cpu"), World())
    assert seen == [("alone", True, "ctpa")]
    assert len(found["alone"]) == alone.embolus.size


def test_processes_share_the_patients_and_know_all(monkeypatch):
    """Of three normals the second process reads the middle one, and is told of the others."""
    config = train_config(**SIZES)
    normals = [replace(subject(0), patient=name) for name in "abc"]
    probability = {"a": 0.0, "b": 0.5, "c": 0.5}
    monkeypatch.setattr(
        hard,
        "read_subject",
        lambda _pathway, one, *_: type("Read", (), {"probability": torch.full((1, 1, 2), probability[one.patient])}),
    )
    other = torch.tensor([[0, 0, 1]], dtype=torch.int16)
    monkeypatch.setattr(World, "gather", lambda _self, mine: [torch.zeros((0, 3)), *mine, other])
    found = find_hard(training(config), normals, (3.0, 3.0, 4.0), config, torch.device("cpu"), World(1, 2))
    assert found["b"].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert found.keys() == {"b", "c"}
    assert found["c"] is other


def test_the_network_itself_is_read():
    """An untrained network gives every voxel less than `PROBABILITY`; one whose bias is raised gives all more."""
    config = train_config(**SIZES)
    state = training(config)
    asked = ([subject(0)], (3.0, 3.0, 4.0), config, torch.device("cpu"), World())
    assert find_hard(state, *asked) == {}
    with torch.no_grad():
        for name, weights in state.pathways["nct"].named_parameters():
            if name.startswith("segment") and name.endswith("bias"):
                weights += 20
    assert len(find_hard(state, *asked)["p"]) == subject(0).embolus.size
