"""Training throughput beside nnU-Net v2's own trainer: same patches, batch and weights, one thread, one process.

Both learn from the same made-up volumes, with their own sampling, augmentation, loss and optimiser, and take turns.
nnU-Net reads its own format and augments in the same process, so that all its work is counted. It needs `nnunetv2`
beside the project's packages, see `benchmarks.nnunet`.
"""

import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import nnunet
from cpmn.config.train import TrainConfig
from cpmn.config.variants import resolve_variant
from cpmn.model.plan import pooling_strides
from cpmn.train.engine import train_step
from cpmn.train.planning import parameters
from cpmn.train.resume import ResumeFolder
from cpmn.train.sampling import sample_batch
from cpmn.train.subjects import Subject
from cpmn.train.training import start_training

REPEATS = 7
SPACING = (2.6, 2.6, 3.5)  # mm; the demo's
SHAPE = (48, 80, 96)  # z, y, x; about a crop of the demo
BOTH = "cpmn, both pathways"
PEER, LARGE_PEER = "nnU-Net v2 trainer", "nnU-Net v2 trainer, as many weights as both pathways"
VARIANTS: dict[str, dict[str, Any]] = {  # changes of `train.machine` by trainer of ours
    "cpmn, NCT pathway": {},
    "cpmn, NCT pathway, bfloat16": {"bfloat16": True},
    "cpmn, NCT pathway, channels last": {"channels_last": True},
    BOTH: {},
    BOTH + ", bfloat16": {"bfloat16": True},
}
TRAINERS = (*VARIANTS, PEER, LARGE_PEER)
BFLOAT16 = ", bfloat16"
MATRIX = 1024  # side of the product that measures the peak
STEPS_TO_THE_PEAK = 3

Step = Callable[[], object]
Facts = tuple[float, float]  # floating-point operations of a step; bytes kept for the backward pass


def measure() -> list[dict]:
    """One row per trainer: CPU time of a step, median of the repeats with the range; trainers take turns.

    Ratios are to nnU-Net's trainer with as many weights, memory is what three steps of a fresh process add at most.
    """
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:  # a process for each, since memory is kept for reuse
        added = dict(zip(TRAINERS, pool.map(_added_bytes, TRAINERS, chunksize=1), strict=True))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        made = {trainer: _make(trainer, Path(name) / str(n)) for n, trainer in enumerate(TRAINERS)}
        facts = {trainer: _facts(step) for trainer, (step, _) in made.items()}
        times: dict[str, list[float]] = {trainer: [] for trainer in TRAINERS}
        peaks: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
        for _ in range(REPEATS):
            for dtype, found in peaks.items():
                found.append(_matrix_product(dtype))
            for trainer, (step, _) in made.items():
                began = time.process_time()
                step()
                times[trainer].append(time.process_time() - began)
    highest = {dtype: float(np.median(found)) for dtype, found in peaks.items()}
    return [_row(t, times, facts[t], weights, highest, added[t]) for t, (_, weights) in made.items()]


def _make(trainer: str, folder: Path) -> tuple[Step, int]:
    """A training step, and the number of weights that it trains."""
    if trainer in VARIANTS:
        return _ours(folder, "cpmn" if trainer.startswith(BOTH) else "nct_only", VARIANTS[trainer])
    volumes = [((hu / 100).astype(np.float32), clot) for hu, clot in _volumes()]
    return nnunet.new_step(volumes, TrainConfig(), SPACING, folder, pathways=2 if trainer == LARGE_PEER else 1)


def _added_bytes(trainer: str) -> int:
    """What the first steps add at most to this process' memory: gradients, moments, feature maps, all else."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        step, _ = _make(trainer, Path(name))
        before = psutil.Process().memory_info().rss
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the highest use so far is now
        for _ in range(STEPS_TO_THE_PEAK):
            step()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1]) - before


def _row(
    trainer: str,
    times: dict[str, list[float]],
    facts: Facts,
    weights: int,
    peaks: dict[torch.dtype, float],
    added: int,
) -> dict:
    peer = LARGE_PEER if trainer.startswith(BOTH) or trainer == LARGE_PEER else PEER
    seconds, ratios = np.array(times[trainer]), np.array(times[peer]) / np.array(times[trainer])
    flops, kept = facts
    peak = peaks[torch.bfloat16 if BFLOAT16 in trainer else torch.float32]
    return {
        "trainer": trainer,
        "weights": weights,
        "steps": len(seconds),
        "cpu_seconds": round(float(np.median(seconds)), 3),
        "cpu_seconds_range": f"{seconds.min():.3f} to {seconds.max():.3f}",
        "times_as_fast_as_nnunet": round(float(np.median(ratios)), 2),
        "ratio_range": f"{ratios.min():.2f} to {ratios.max():.2f}",
        "gflop": round(flops / 1e9, 2),
        "share_of_matrix_peak": round(flops / float(np.median(seconds)) / peak, 2),
        "kept_for_backward_mb": round(kept / 1e6, 1),
        "memory_added_mb": round(added / 1e6),
    }


def _facts(step: Step) -> Facts:
    """Floating-point operations of a step, and bytes kept for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    step()
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return counter.get_total_flops(), sum(kept.values())


def _matrix_product(dtype: torch.dtype) -> float:
    """The processor's operations per second of CPU time in a matrix product."""
    a = torch.rand(MATRIX, MATRIX).to(dtype)
    torch.mm(a, a)
    began = time.process_time()
    for _ in range(3):
        torch.mm(a, a)
    return 3 * 2 * MATRIX**3 / (time.process_time() - began)


def _volumes() -> list[tuple[np.ndarray, np.ndarray]]:
    """HU and clot of two patients."""
    random = np.random.default_rng(0)
    result = []
    for _ in range(2):
        clot = np.zeros(SHAPE, np.uint8)
        clot[20:26, 30:36, 40:46] = 1
        result.append((random.normal(0, 100, SHAPE).astype(np.int16), clot))
    return result


def _ours(folder: Path, base: str, machine: dict[str, Any]) -> tuple[Step, int]:
    settings = {"schedule": {"steps": 10**6}, "loss": {"warmup_fraction": 0}, "machine": machine}
    config = resolve_variant(TrainConfig.model_validate(settings), base, {})
    everywhere = np.argwhere(np.ones(SHAPE, bool)).astype(np.int16)
    subjects = [
        Subject(str(n), 1, hu, hu, clot, np.argwhere(clot), everywhere) for n, (hu, clot) in enumerate(_volumes())
    ]
    strides = pooling_strides(SPACING, config.network.patch_size, len(config.network.channels))
    device = torch.device("cpu")
    state = start_training(config, strides, device, ResumeFolder(folder, "k" * 64))
    weights = len(config.network.pathways) * parameters(config, SPACING)
    return lambda: train_step(state, [sample_batch(subjects, config, state.step)], config, device), weights
