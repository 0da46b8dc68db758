"""A training in progress: its networks, optimiser and everything else that an exact resume needs."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from cpmn.config.train import Phase, TrainConfig
from cpmn.config.train.schedule import ScheduleConfig
from cpmn.model.network import Pathway, build_pathway
from cpmn.train.objective import Pathways
from cpmn.train.processes import ALONE, World
from cpmn.train.resume import ResumeFolder

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass
class Training:
    """A training in progress; `sums` add up the parts' (value, count) since the last row.

    networks : what is called, the pathways themselves or what averages their gradients over processes.
    reads : the phase whose pathway reads scans in the end.
    average : that pathway's moving average, None if off.
    hard : patients' hard negatives (n, 3), int16 voxels (z, y, x), all that were found; empty before.
    """

    pathways: Pathways
    networks: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    reads: Phase = "nct"
    average: AveragedModel | None = None
    step: int = 0
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=dict)
    hard: dict[str, Tensor] = field(default_factory=dict)

    def reader(self) -> Pathway:
        """The network that reads scans in the end, or its moving average."""
        return cast(Pathway, self.average.module if self.average is not None else self.pathways[self.reads])

    def weights(self) -> list[nn.Parameter]:
        """All pathways' weights."""
        return list(self.pathways.parameters())


def start_training(
    config: TrainConfig,
    strides: Sequence[Sequence[int]],
    device: torch.device,
    resume: ResumeFolder,
    world: World = ALONE,
) -> Training:
    """A new run, or the one saved in `resume`. Each phase's initial weights depend on the seed and the phase alone."""
    network, schedule = config.network, config.schedule
    pathways = Pathways(
        {
            phase: build_pathway(network.channels, strides, seed, network.absolute_hu).to(device)
            for phase, seed in (("nct", 2 * config.seed), ("ctpa", 2 * config.seed + 1))
            if phase in network.pathways
        }
    )
    if config.machine.channels_last:
        pathways.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue] (absent from the stubs)
    saved = resume.load()
    optimisation = new_optimiser(pathways, schedule, saved["step"] if saved else 0)
    state = Training(pathways, pathways, *optimisation, reads=network.reader)
    if schedule.ema_decay:
        state.average = AveragedModel(pathways[state.reads], multi_avg_fn=moving_average(schedule.ema_decay))
    state.networks = world.averaging(pathways)  # after the average was copied from what it wraps
    if saved is not None:
        _restore(state, saved)
        logger.info("going on at step %d of %d", state.step, schedule.steps)
    return state


def moving_average(decay: float) -> Callable[[PARAM_LIST, PARAM_LIST, Tensor | int], None]:
    """Exponential moving average for `AveragedModel`, of `decay` d once n updates are many: min(d, (1 + n) / (10 + n)).

    The rise (TensorFlow's ExponentialMovingAverage) keeps the first weights from counting when steps are few: of 500
    steps at 0.999 they would make up 0.61 of the average.
    """

    def update(averaged: PARAM_LIST, current: PARAM_LIST, updates: Tensor | int) -> None:
        count = float(updates)
        get_ema_multi_avg_fn(min(decay, (1 + count) / (10 + count)))(averaged, current, updates)

    return update


def new_optimiser(
    pathways: nn.Module, config: ScheduleConfig, step: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW and its schedule for the phase of training that `step` is in: pretraining and the rest have one each.

    AdamW is Loshchilov and Hutter's (ICLR 2019), one cycle Smith and Topin's (2019); taking them is our choice.
    """
    boundary = config.pretraining_steps
    steps = boundary if step < boundary else config.steps - boundary
    optimiser = torch.optim.AdamW(
        pathways.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps + 1)


def snapshot(state: Training) -> dict[str, Any]:
    """Everything that `start_training` needs to go on as if nothing had happened: tensors and plain values."""
    return {
        "pathways": {phase: pathway.state_dict() for phase, pathway in state.pathways.items()},
        "average": state.average.state_dict() if state.average is not None else None,
        "optimiser": state.optimiser.state_dict(),
        "schedule": state.schedule.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
        "rows": state.rows,
        "sums": state.sums,
        "hard": state.hard,
    }


def _restore(state: Training, saved: dict[str, Any]) -> None:
    for phase, pathway in state.pathways.items():
        pathway.load_state_dict(saved["pathways"][phase])
    if state.average is not None:
        state.average.load_state_dict(saved["average"])
    state.optimiser.load_state_dict(saved["optimiser"])
    state.schedule.load_state_dict(saved["schedule"])
    for name in ("step", "seconds", "rows", "sums", "hard"):
        setattr(state, name, saved[name])
