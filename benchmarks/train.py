"""Training throughput beside nnU-Net v2's own trainer: same patches, batch and weights, one thread, one process.

Both learn from the same made-up volumes, with their own sampling, augmentation, loss and optimiser, and take turns.
nnU-Net reads its own format and augments in the same process, so that all its work is counted. It needs `nnunetv2`
beside the project's packages, see `benchmarks.nnunet`.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import nnunet
from cpmn.config.train import Spacing, TrainConfig
from cpmn.config.variants import resolve_variant
from cpmn.plan import pooling_strides
from cpmn.train.cases import Case
from cpmn.train.engine import train_step
from cpmn.train.planning import parameters
from cpmn.train.resume import ResumeFolder
from cpmn.train.run import start_run
from cpmn.train.sampling import sample_batch

REPEATS = 7
SPACING = (2.6, 2.6, 3.5)  # mm; the demo's
SHAPE = (48, 80, 96)  # z, y, x; about a crop of the demo
VARIANTS = {
    "cpmn, NCT pathway": {},
    "cpmn, NCT pathway, bfloat16": {"cpu_bfloat16": True},
    "cpmn, NCT pathway, channels last": {"channels_last": True},
}
COMPILED = {  # the variant whose operations they compile
    "cpmn, NCT pathway, compiled": "cpmn, NCT pathway",
    "cpmn, NCT pathway, bfloat16, compiled": "cpmn, NCT pathway, bfloat16",
}
BOTH = "cpmn, both pathways"
PEER = "nnU-Net v2 trainer"
MATRIX = 1024  # side of the product that measures the peak

Step = Callable[[], object]
Facts = tuple[float, float | None]  # floating-point operations of a step; bytes kept for the backward pass, if known


def measure() -> list[dict]:
    """One row per trainer: CPU time of a step, median of the repeats with the range; trainers take turns."""
    torch.set_num_threads(1)
    config = TrainConfig()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps: dict[str, Step] = {
            method: _ours(folder / str(n), "nct_only", **changes)
            for n, (method, changes) in enumerate(VARIANTS.items())
        }
        steps |= {BOTH: _ours(folder / "both", "cpmn")}
        steps[PEER], weights = _peer(folder, config)
        facts: dict[str, Facts] = {method: _facts(step) for method, step in steps.items()}
        for method, plain in COMPILED.items():
            steps[method] = _ours(folder / method, "nct_only", compile=True, **VARIANTS[plain])
            waited = _compile(steps[method])
            print(f"{method}: {waited:.0f} s before the first step", flush=True)
            facts[method] = (facts[plain][0], None)  # neither counter nor hooks see into a compiled graph
        times: dict[str, list[float]] = {method: [] for method in steps}
        peaks = []
        for _ in range(REPEATS):
            peaks.append(_matrix_product())
            for method, step in steps.items():
                began = time.process_time()
                step()
                times[method].append(time.process_time() - began)
    counts = dict.fromkeys(steps, parameters(config, SPACING)) | {PEER: weights}
    counts[BOTH] *= 2
    return [_row(method, times, facts[method], counts[method], float(np.median(peaks))) for method in steps]


def _row(method: str, times: dict[str, list[float]], facts: Facts, count: int, peak: float) -> dict:
    seconds, ratios = np.array(times[method]), np.array(times[PEER]) / np.array(times[method])
    flops, kept = facts
    return {
        "trainer": method,
        "weights": count,
        "steps": len(seconds),
        "cpu_seconds": round(float(np.median(seconds)), 3),
        "cpu_seconds_range": f"{seconds.min():.3f} to {seconds.max():.3f}",
        "times_as_fast_as_nnunet": round(float(np.median(ratios)), 2),
        "ratio_range": f"{ratios.min():.2f} to {ratios.max():.2f}",
        "gflop": round(flops / 1e9, 2),
        "share_of_matrix_peak": round(flops / float(np.median(seconds)) / peak, 2),
        "kept_for_backward_mb": "" if kept is None else round(kept / 1e6, 1),
    }


def _compile(step: Step) -> float:
    """Seconds until the first step is done, which compiles; a second one compiles what depends on the first."""
    began = time.perf_counter()
    step()
    waited = time.perf_counter() - began
    step()
    return waited


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


def _matrix_product() -> float:
    """The processor's operations per second of CPU time in a float32 matrix product."""
    a = torch.rand(MATRIX, MATRIX)
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


def _ours(folder: Path, base: str, **changes: Any) -> Step:
    config = resolve_variant(TrainConfig.model_validate({"steps": 10**6, "warmup_fraction": 0} | changes), base, {})
    everywhere = np.argwhere(np.ones(SHAPE, bool)).astype(np.int16)
    cases = [Case(str(n), 1, hu, hu, clot, np.argwhere(clot), everywhere) for n, (hu, clot) in enumerate(_volumes())]
    return step_on(cases, config, SPACING, folder)


def step_on(cases: Sequence[Case], config: TrainConfig, spacing: Spacing, folder: Path) -> Step:
    """A training step of ours on the next batch of `cases`; `folder` is for its resume points."""
    device = torch.device("cpu")
    strides = pooling_strides(spacing, config.patch_size, len(config.channels))
    run = start_run(config, strides, device, ResumeFolder(folder, "k" * 64))
    return lambda: train_step(run, [sample_batch(cases, config, run.step)], config, device)


def _peer(folder: Path, config: TrainConfig) -> tuple[Step, int]:
    """nnU-Net's own trainer on the same volumes."""
    volumes = [((hu / 100).astype(np.float32), clot) for hu, clot in _volumes()]
    return nnunet.new_step(volumes, config, SPACING, folder)
