# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
# Every patient here has an NCT: a test that finds none fails by itself.
"""Batches that are sampled ahead are the same batches."""

import threading

import pytest
import torch

import cpmn.train.feed as feed
from cpmn.train.feed import Sampler
from cpmn.train.processes import World
from tests.settings import train_config
from tests.train.conftest import LABELS, PATIENTS, SPACING, TINY, loaded


@pytest.fixture
def subjects(crops, tmp_path):
    config = train_config(**TINY)
    return loaded(PATIENTS, crops=crops, labels=LABELS, spacing=SPACING, cache=tmp_path, config=config, paired=set())


def sampled(subjects, ahead: int, world: World) -> list[torch.Tensor]:
    """Patches of the third step on."""
    config = train_config(**TINY, accumulation=2)
    with Sampler(subjects, config, 2, config.schedule.steps, world, ahead=ahead) as sampler:
        return [batch.nct.patches for _ in range(2, config.schedule.steps) for batch in sampler.next_step()]


@pytest.mark.parametrize("world", [World(), World(rank=1, size=2)])
def test_ahead_or_not_the_batches_are_the_same(subjects, world):
    now, ahead = sampled(subjects, 0, world), sampled(subjects, 3, world)
    assert len(now) == len(ahead) == 4 * 2 // world.size
    assert all(torch.equal(one, two) for one, two in zip(now, ahead, strict=True))
    assert not torch.equal(now[0], now[1])


def test_it_works_so_many_steps_ahead_and_no_further_than_the_last(subjects, monkeypatch):
    monkeypatch.setattr(feed, "sample_batch", lambda _subjects, _config, step, _part: step)
    config = train_config(**TINY)
    with Sampler(subjects, config, 0, config.schedule.steps, World(), ahead=2) as sampler:
        assert [(list(sampler.next_step()), sampler.submitted) for _ in range(config.schedule.steps)] == [
            ([step], min(step + 3, config.schedule.steps)) for step in range(config.schedule.steps)
        ]


def test_nothing_is_sampled_beyond_the_end(subjects, monkeypatch):
    """What is beyond it may look different: hard negatives are found between."""
    monkeypatch.setattr(feed, "sample_batch", lambda _subjects, _config, step, _part: step)
    with Sampler(subjects, train_config(**TINY), 0, 3, World(), ahead=2) as sampler:
        assert [(list(sampler.next_step()), sampler.submitted) for _ in range(3)] == [([0], 3), ([1], 3), ([2], 3)]


def test_a_fault_while_sampling_ahead_reaches_the_training_and_no_thread_stays(subjects, monkeypatch):
    def fail(*_):
        raise ValueError("damaged")

    monkeypatch.setattr(feed, "sample_batch", fail)
    with (
        pytest.raises(ValueError, match="damaged"),
        Sampler(subjects, train_config(**TINY), 0, 2, World(), ahead=2) as sampler,
    ):
        list(sampler.next_step())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sampling")]
