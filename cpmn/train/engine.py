"""The training loop: one-cycle AdamW on both pathways, a history row per epoch, resume points.

The weights that count are the last ones: the one-cycle schedule ends at a learning rate of nearly zero, and with no
choice by validation the validation scores stay out-of-sample, as the decision threshold needs them (our choice).
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from cpmn.config.train import Spacing, TrainConfig
from cpmn.network import Pathway, build_pathway
from cpmn.plan import pooling_strides
from cpmn.train.cases import Case
from cpmn.train.objective import PARTS, training_loss
from cpmn.train.resume import ResumeFolder
from cpmn.train.sampling import Batch, sample_batch
from cpmn.train.validation import validate

logger = logging.getLogger(__name__)

VALIDATION = ("validation_loss", "validation_dice", "validation_auc")
COLUMNS = ("epoch", "step", "learning_rate", "seconds", *(f"train_{part}" for part in PARTS), *VALIDATION)
"""Columns of `history.csv`; a value that was not computed (a term switched off, no validation) is empty."""

Row = dict[str, Any]


@dataclass
class Run:
    """A training in progress; `sums` add up the parts' (value, count) since the last row."""

    pathways: dict[str, Pathway]
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.OneCycleLR
    step: int = 0
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=dict)


def train(
    training: Sequence[Case],
    validation: Sequence[Case],
    config: TrainConfig,
    spacing: Spacing,
    *,
    device: torch.device,
    resume: ResumeFolder,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Run:
    """Train for `config.steps` steps, going on where `resume` left off; returns the finished run.

    spacing : of the cases' working grid, (x, y, z) in mm.
    on_epoch : called with every new row of the history.
    on_step : called after every step with the number of steps done; what it raises ends the training.
    """
    strides = pooling_strides(spacing, config.patch_size, len(config.channels))
    run = start_run(config, strides, device, resume)
    progress = tqdm(total=config.steps, initial=run.step, desc="training", unit="step", disable=None)
    with progress:
        while run.step < config.steps:
            started = time.monotonic()
            parts = train_step(run, sample_batch(training, config, run.step), config, device)
            progress.update()
            progress.set_postfix({name: f"{value:.3f}" for name, value in parts.items()}, refresh=False)
            if run.step % config.epoch_steps == 0 or run.step == config.steps:
                run.rows.append(_epoch_row(run, validation, spacing, config, device))
                run.sums = {}
                run.rows[-1]["seconds"] = round(run.seconds + time.monotonic() - started, 3)
                if on_epoch:
                    on_epoch(run.rows[-1])
            run.seconds += time.monotonic() - started
            if run.step % config.save_every == 0:
                resume.save(_state(run))
            if on_step:
                on_step(run.step)
    return run


def start_run(config: TrainConfig, strides: Sequence[Sequence[int]], device: torch.device, resume: ResumeFolder) -> Run:
    """A new run, or the one saved in `resume`. Each phase's initial weights depend on the seed and the phase alone."""
    pathways = {
        phase: build_pathway(config.channels, strides, 2 * config.seed + (phase == "ctpa")).to(device)
        for phase in ("nct", "ctpa")
        if phase in config.pathways
    }
    weights = [weight for pathway in pathways.values() for weight in pathway.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=config.steps + 1)
    run = Run(pathways, optimiser, schedule)
    state = resume.load()
    if state is not None:
        _restore(run, state)
        logger.info("going on at step %d of %d", run.step, config.steps)
    return run


def train_step(run: Run, batch: Batch, config: TrainConfig, device: torch.device) -> dict[str, float]:
    """One optimiser step; returns the loss parts."""
    batch = Batch(batch.nct.to(device), batch.ctpa.to(device) if batch.ctpa else None, batch.paired)
    mixed = config.mixed_precision and device.type == "cuda"
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
        losses = training_loss(run.pathways, batch, config, run.step)
    run.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    for pathway in run.pathways.values():  # each on its own: the NCT's step must not depend on the CTPA's gradient
        nn.utils.clip_grad_norm_(pathway.parameters(), config.gradient_clip)
    run.optimiser.step()
    run.schedule.step()
    run.step += 1
    parts = {name: float(value.detach()) for name, value in losses.items()}
    for name, value in parts.items():
        total, count = run.sums.get(name, [0.0, 0.0])
        run.sums[name] = [total + value, count + 1]
    return parts


def _epoch_row(
    run: Run, validation: Sequence[Case], spacing: Spacing, config: TrainConfig, device: torch.device
) -> Row:
    epoch = -(-run.step // config.epoch_steps)
    row: Row = dict.fromkeys(COLUMNS)
    row |= {"epoch": epoch, "step": run.step, "learning_rate": run.schedule.get_last_lr()[0]}
    row |= {f"train_{name}": total / count for name, (total, count) in run.sums.items()}
    if run.step == config.steps or epoch % config.validation_every == 0:
        row |= validate(run.pathways["nct"], validation, spacing, config, device)
    known = {name: value for name, value in row.items() if isinstance(value, float)}
    logger.info("epoch %d, step %d: %s", epoch, run.step, ", ".join(f"{k} {v:.4g}" for k, v in known.items()))
    return row


def _state(run: Run) -> dict[str, Any]:
    return {
        "pathways": {phase: pathway.state_dict() for phase, pathway in run.pathways.items()},
        "optimiser": run.optimiser.state_dict(),
        "schedule": run.schedule.state_dict(),
        "step": run.step,
        "seconds": run.seconds,
        "rows": run.rows,
        "sums": run.sums,
    }


def _restore(run: Run, state: dict[str, Any]) -> None:
    for phase, pathway in run.pathways.items():
        pathway.load_state_dict(state["pathways"][phase])
    run.optimiser.load_state_dict(state["optimiser"])
    run.schedule.load_state_dict(state["schedule"])
    run.step, run.seconds, run.rows, run.sums = state["step"], state["seconds"], state["rows"], state["sums"]
