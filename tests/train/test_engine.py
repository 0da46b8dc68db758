"""The engine's options by themselves: what each does to a step, by known answers."""

import io
import math

import pytest
import torch
from torch import Tensor
from tqdm import tqdm

import cpmn.model.devices as devices
import cpmn.train.engine as engine
from cpmn.train.engine import train_step
from cpmn.train.objective import training_loss
from cpmn.train.resume import ResumeFolder
from cpmn.train.sampling import Batch, PhasePatches
from cpmn.train.training import Training, moving_average, start_training
from tests.train.test_objective import phase

CPU = torch.device("cpu")
RATE = 1e-3
FIELDS = ("patches", "clot", "vessel", "present")


@pytest.fixture
def start(tmp_path, make_config):
    """A fresh run with settings, and the settings."""

    def new(**changes):
        config = make_config(**({"learning_rate": RATE} | changes))
        return start_training(config, ((2, 2, 2),), CPU, ResumeFolder(tmp_path, "k" * 64)), config

    return new


def batch(seed: int) -> Batch:
    return Batch(phase(seed), phase(seed + 100), [0, 1, 2])


def gradients(state: Training) -> list[Tensor]:
    return [weight.grad for weight in state.weights() if weight.grad is not None]


def norm(weights) -> float:
    return math.sqrt(sum(float((weight.grad**2).sum()) for weight in weights))


def rates(state: Training, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(state.optimiser.param_groups[0]["lr"])
        state.optimiser.step()
        state.schedule.step()
    return found


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_almost_nothing(start):
    state, _ = start(steps=100)
    found = rates(state, 100)
    assert max(found) == pytest.approx(RATE, rel=1e-3)
    assert found[0] == pytest.approx(RATE / 25)
    assert 25 <= found.index(max(found)) <= 35  # PyTorch's rise takes three tenths
    assert found[-1] < RATE / 1000


def test_the_average_follows_the_weights_and_is_what_reads(start):
    """m <- d m + (1 - d) w after each step, d = min(decay, (1 + n) / (10 + n)); the first step's weights start it."""
    state, config = start(ema_decay=0.2)
    followed: dict[str, Tensor] = {}
    for step, decay in enumerate((None, 2 / 11, 0.2, 0.2)):
        train_step(state, [batch(step)], config, CPU)
        now = {name: value.clone() for name, value in state.pathways["nct"].state_dict().items()}
        followed = {name: decay * followed[name] + (1 - decay) * now[name] for name in now} if decay else now
    kept = state.reader().state_dict()
    for name, value in followed.items():
        assert torch.allclose(kept[name], value, atol=1e-7), name
    assert not all(torch.equal(kept[name], value) for name, value in state.pathways["nct"].state_dict().items())


def test_the_first_weights_fade_from_the_average_of_a_short_training():
    averaged, update = [torch.ones(1)], moving_average(0.999)
    for count in range(1, 500):
        update(averaged, [torch.zeros(1)], torch.tensor(count))
    assert averaged[0].item() < 1e-6  # with a constant decay 0.61


def test_each_pathway_is_clipped_by_its_own_gradient(start):
    state, config = start(gradient_clip=1.0)
    for name, size in (("nct", 10.0), ("ctpa", 0.001)):
        for weight in state.pathways[name].parameters():
            weight.grad = torch.full_like(weight, size)
    before = norm(state.pathways["ctpa"].parameters())
    engine._clip(state, config)
    assert before < 1
    assert norm(state.pathways["nct"].parameters()) == pytest.approx(1.0, rel=1e-3)
    assert norm(state.pathways["ctpa"].parameters()) == pytest.approx(before)


def test_a_patch_counts_alike_however_a_step_is_cut_into_batches(start):
    """One of four patches has a CTPA: as one batch, and as two of which the second has none."""
    nct, ctpa = phase(0, 4), phase(1, 1)
    parts = [PhasePatches(*(getattr(nct, name)[half] for name in FIELDS)) for half in (slice(0, 2), slice(2, 4))]
    whole, cut = [Batch(nct, ctpa, [0])], [Batch(parts[0], ctpa, [0]), Batch(parts[1], None, [])]
    found = []
    for batches in (whole, cut):
        state, config = start(accumulation=len(batches), gradient_clip=1e6)
        train_step(state, batches, config, CPU)
        found.append([weight.grad.clone() for weight in state.pathways["ctpa"].parameters() if weight.grad is not None])
    assert found[0]
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_accumulated_batches_give_their_mean_gradient(start):
    state, config = start(accumulation=2, gradient_clip=1e6)
    batches, weights = [batch(0), batch(1)], state.weights()
    losses = [training_loss(state.pathways, one, config, 0)["total"] for one in batches]
    apart = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses]
    parts = train_step(state, batches, config, CPU)
    for found, one, two in zip(gradients(state), *apart, strict=True):
        assert torch.allclose(found, (one + two) / 2, atol=1e-6)
    assert parts["total"] == pytest.approx(sum(loss.item() for loss in losses) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "there", "expected"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.float32),
        (False, True, torch.float32),
        ("auto", True, torch.float32),
    ],
)
def test_bfloat16_on_the_cpu_is_what_the_step_computes_in(start, monkeypatch, given, there, expected):
    monkeypatch.setattr(devices, "has_bfloat16", lambda _device: there)
    state, config = start(bfloat16=given)
    seen = []

    def loss(*arguments):
        seen.append(torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype)
        return training_loss(*arguments)

    monkeypatch.setattr(engine, "training_loss", loss)
    train_step(state, [batch(0)], config, CPU)
    assert seen == [expected]
    assert all(gradient.dtype == torch.float32 for gradient in gradients(state))


def test_the_bar_shows_the_loss_parts_and_the_time_left(run_training, tmp_path, monkeypatch):
    shown = io.StringIO()

    def visible(**options):
        return tqdm(**(options | {"disable": False, "file": shown, "mininterval": 0}))

    monkeypatch.setattr(engine, "tqdm", visible)
    run_training(tmp_path)
    last = shown.getvalue().split("\r")[-1]
    assert "training: 100%" in last
    assert "6/6" in last
    assert "total=" in last
    assert "alignment=" in last
    assert any("<00:0" in line for line in shown.getvalue().split("\r"))
