"""The training loop: AdamW on both pathways, a history row per epoch, resume points.

The weights that count are the last ones: the one-cycle schedule ends at a learning rate of nearly zero, and with no
choice by validation the validation scores stay out-of-sample, as the decision threshold needs them (our choice).
"""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import cast

import torch
from torch import nn
from tqdm import tqdm

from cpmn.config.train import Spacing, TrainConfig
from cpmn.errors import CpmnError
from cpmn.model.devices import device_name, has_bfloat16, mixed_precision, wants_bfloat16
from cpmn.model.network import Pathway
from cpmn.model.plan import pooling_strides
from cpmn.train.feed import Sampler
from cpmn.train.hard import find_hard, hard_steps, with_hard
from cpmn.train.objective import PARTS, training_loss
from cpmn.train.processes import ALONE, World
from cpmn.train.resume import ResumeFolder
from cpmn.train.sampling import Batch
from cpmn.train.subjects import Subject
from cpmn.train.training import Row, Training, new_optimiser, snapshot, start_training
from cpmn.train.validation import validate

logger = logging.getLogger(__name__)

VALIDATION = tuple(f"validation_{name}{end}" for end in ("", "_ctpa") for name in ("loss", "dice", "auc", "found"))
COLUMNS = ("epoch", "step", "learning_rate", "seconds", *(f"train_{part}" for part in PARTS), *VALIDATION)
"""Columns of `history.csv`; a value that was not computed (a term switched off, no validation) is empty."""

STEPS_AHEAD = 4  # ours: of samples while a GPU computes; on a processor they would take the same cores


def train(
    training: Sequence[Subject],
    validation: Sequence[Subject],
    config: TrainConfig,
    spacing: Spacing,
    *,
    device: torch.device,
    resume: ResumeFolder,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[int], None] | None = None,
    world: World = ALONE,
) -> Training:
    """Train for `schedule.steps` steps, going on where `resume` left off; returns the finished run.

    spacing : of the subjects' working grid, (x, y, z) in mm.
    on_epoch : called with every new row of the history.
    on_step : called after every step with the number of steps done; what it raises ends the training.
    world : the processes that share the step's batches.
    """
    schedule = config.schedule
    state = _started(config, spacing, device, resume, world)
    quiet = None if world.writes else True
    progress = tqdm(total=schedule.steps, initial=state.step, desc="training", unit="step", disable=quiet)
    with progress, closing(_batches(state, training, spacing, config, device, world)) as steps:
        for batches in steps:
            started = time.monotonic()
            if state.step and state.step == schedule.pretraining_steps:
                state.optimiser, state.schedule = new_optimiser(state.pathways, schedule, state.step)
            parts = train_step(state, batches, config, device, world)
            progress.update()
            progress.set_postfix({name: f"{value:.3f}" for name, value in parts.items()}, refresh=False)
            if state.step % schedule.epoch_steps == 0 or state.step == schedule.steps:
                state.rows.append(_epoch_row(state, validation, spacing, config, device, world))
                state.sums = {}
                state.rows[-1]["seconds"] = round(state.seconds + time.monotonic() - started, 3)
                if on_epoch:
                    on_epoch(state.rows[-1])
            state.seconds += time.monotonic() - started
            if state.step % config.machine.save_every == 0 and world.writes:
                resume.save(snapshot(state))
            if on_step:
                on_step(state.step)
    return state


def _batches(
    state: Training,
    training: Sequence[Subject],
    spacing: Spacing,
    config: TrainConfig,
    device: torch.device,
    world: World,
) -> Generator[Iterable[Batch], None, None]:
    """This process' batches of each step that is left, with the hard negatives that are known by then."""
    ahead = STEPS_AHEAD if device.type == "cuda" else 0
    while state.step < config.schedule.steps:
        if state.step in hard_steps(config):
            started = time.monotonic()
            state.hard = find_hard(state, training, spacing, config, device, world)
            state.seconds += time.monotonic() - started
        end = min(step for step in (*hard_steps(config), config.schedule.steps) if step > state.step)
        with Sampler(with_hard(training, state.hard), config, state.step, end, world, ahead=ahead) as sampled:
            while state.step < end:
                yield sampled.next_step()


def _started(
    config: TrainConfig, spacing: Spacing, device: torch.device, resume: ResumeFolder, world: World
) -> Training:
    if wants_bfloat16(config.machine.bfloat16, device) and not has_bfloat16(device):
        logger.info("%s has no instructions for bfloat16: computing in float32", device_name(device))
    strides = pooling_strides(spacing, config.network.patch_size, len(config.network.channels))
    return start_training(config, strides, device, resume, world)


def train_step(
    state: Training, batches: Iterable[Batch], config: TrainConfig, device: torch.device, world: World = ALONE
) -> dict[str, float]:
    """One optimiser step on the mean gradient of the step's batches; returns the mean loss parts.

    Raises CpmnError if the loss is not a finite number: such weights must not end as a model.
    """
    schedule = config.schedule
    state.optimiser.zero_grad(set_to_none=True)
    found = []
    mine = config.machine.accumulation // world.size
    for number, batch in enumerate(batches, start=1):
        with world.adding_up(state.networks, last=number == mine):
            with mixed_precision(device, config.machine.bfloat16):
                losses = training_loss(state.networks, _on_device(batch, device, config), config, state.step)
            (losses["total"] / mine).backward()
        values = torch.stack([value.detach().float() for value in losses.values()]).tolist()  # waits for a GPU once
        found.append(dict(zip(losses, values, strict=True)))
        if not math.isfinite(found[-1]["total"]):
            raise CpmnError(
                f"the training diverged: the loss of step {state.step + 1} is {found[-1]['total']}. Lower learning_rate"
                f" ({schedule.learning_rate:g}) or gradient_clip ({schedule.gradient_clip:g}) in train.schedule."
            )
    _clip(state, config)
    state.optimiser.step()
    state.schedule.step()
    state.step += 1
    if state.average is not None:
        state.average.update_parameters(state.pathways[state.reads])
    return _add_up(state, world.gather(found))


def _on_device(batch: Batch, device: torch.device, config: TrainConfig) -> Batch:
    batch = batch.to(device)
    if config.machine.channels_last:
        for phase in (batch.nct, batch.ctpa):
            if phase is not None:
                phase.patches = phase.patches.contiguous(memory_format=torch.channels_last_3d)
    return batch


def _clip(state: Training, config: TrainConfig) -> None:
    """Each pathway on its own: the NCT's step must not depend on the CTPA's gradient."""
    for pathway in state.pathways.values():
        nn.utils.clip_grad_norm_(pathway.parameters(), config.schedule.gradient_clip)


def _add_up(state: Training, found: Sequence[dict[str, float]]) -> dict[str, float]:
    for name, value in (item for parts in found for item in parts.items()):
        total, count = state.sums.get(name, [0.0, 0.0])
        state.sums[name] = [total + value, count + 1]
    names = dict.fromkeys(name for parts in found for name in parts)
    known = {name: [parts[name] for parts in found if name in parts] for name in names}
    return {name: sum(values) / len(values) for name, values in known.items()}


def _validation(
    state: Training,
    subjects: Sequence[Subject],
    spacing: Spacing,
    config: TrainConfig,
    device: torch.device,
    world: World,
) -> Row:
    """Validation of what reads scans and, on the CTPA, of a CTPA pathway beside it."""
    found = validate(state.reader(), subjects, spacing, config, device, world, state.reads)
    if state.reads == "nct" and "ctpa" in state.pathways:
        found |= validate(cast(Pathway, state.pathways["ctpa"]), subjects, spacing, config, device, world, "ctpa")
    return found


def _epoch_row(
    state: Training,
    validation: Sequence[Subject],
    spacing: Spacing,
    config: TrainConfig,
    device: torch.device,
    world: World,
) -> Row:
    schedule = config.schedule
    epoch = -(-state.step // schedule.epoch_steps)
    row: Row = dict.fromkeys(COLUMNS)
    row |= {"epoch": epoch, "step": state.step, "learning_rate": state.schedule.get_last_lr()[0]}
    row |= {f"train_{name}": total / count for name, (total, count) in state.sums.items()}
    if state.step == schedule.steps or epoch % schedule.validation_every == 0:
        row |= _validation(state, validation, spacing, config, device, world)
    known = {name: value for name, value in row.items() if isinstance(value, float)}
    logger.info("epoch %d, step %d: %s", epoch, state.step, ", ".join(f"{k} {v:.4g}" for k, v in known.items()))
    return row
