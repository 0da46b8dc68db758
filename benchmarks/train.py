"""Training throughput beside nnU-Net v2's own trainer: same patches, batch and weights, one thread, one process.

Both learn from the same made-up volumes, with their own sampling, augmentation, loss and optimiser, and take turns.
nnU-Net reads its own format and augments in the same process, so that all its work is counted. It needs `nnunetv2`
beside the project's packages: pip install it with --no-deps into an environment of its own, since it would change the
pinned PyTorch, and run `python -m benchmarks train` there.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

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
BOTH = "cpmn, both pathways"
PEER = "nnU-Net v2 trainer"
MATRIX = 1024  # side of the product that measures the peak

Step = Callable[[], object]


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
        facts = {method: _facts(step) for method, step in steps.items()}
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


def _row(method: str, times: dict[str, list[float]], facts: tuple[float, float], count: int, peak: float) -> dict:
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
        "kept_for_backward_mb": round(kept / 1e6, 1),
    }


def _facts(step: Step) -> tuple[float, float]:
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
    """nnU-Net's own trainer with our patch and batch, and widths that give as many weights as our NCT pathway has."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    os.environ |= {name: str(folder / name) for name in names} | {"nnUNet_n_proc_DA": "0", "nnUNet_compile": "f"}
    try:
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # pyright: ignore[reportMissingImports]
    except ImportError:
        sys.exit(f"The training benchmark needs its peer: see {__file__}.")
    data = folder / "nnUNet_preprocessed" / "Dataset001_Made" / "made"
    data.mkdir(parents=True)
    for n, (hu, clot) in enumerate(_volumes()):
        _write_case(data / f"case{n}", hu, clot, config)
    labels = {"background": 0, "embolus": 1}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}
    target, best = parameters(config, SPACING), None
    for factor in np.linspace(0.6, 1.1, 26):
        trainer_plans = _plans(config, [max(4, round(n * factor)) for n in config.channels])
        size = _weights(trainer_plans)
        if best is None or abs(size - target) < abs(best[0] - target):
            best = (size, trainer_plans)
    assert best is not None
    trainer = nnUNetTrainer(best[1], "3d_fullres", "all", dataset, torch.device("cpu"))
    trainer.initialize()
    trainer.set_deep_supervision_enabled(True)
    loader, _ = trainer.get_dataloaders()
    return lambda: trainer.train_step(next(loader)), best[0]


def _write_case(path: Path, hu: np.ndarray, clot: np.ndarray, config: TrainConfig) -> None:
    from nnunetv2.training.dataloading import nnunet_dataset  # pyright: ignore[reportMissingImports]

    image, where = (hu[None] / 100).astype(np.float32), np.argwhere(clot)
    blocks, chunks = nnunet_dataset.comp_blosc2_params(image.shape, config.patch_size[::-1])
    located = {"class_locations": {1: np.column_stack([np.zeros(len(where), int), where])}}
    layout = {"chunks": chunks, "blocks": blocks, "chunks_seg": chunks, "blocks_seg": blocks}
    nnunet_dataset.nnUNetDatasetBlosc2.save_case(image, clot[None].astype(np.int8), located, str(path), **layout)


def _weights(plans: dict[str, Any]) -> int:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet  # pyright: ignore[reportMissingImports]
    from torch import nn

    kwargs = dict(plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"])
    kwargs |= {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    with torch.device("meta"):
        network = PlainConvUNet(input_channels=1, num_classes=2, deep_supervision=True, **kwargs)
    return sum(weight.numel() for weight in network.parameters())


def _plans(config: TrainConfig, widths: list[int]) -> dict[str, Any]:
    """A plan as nnU-Net writes it: PlainConvUNet, its default layers, our patch, batch and strides (z, y, x)."""
    strides = [[1, 1, 1], *(list(s[::-1]) for s in pooling_strides(SPACING, config.patch_size, len(widths)))]
    layers = {
        "n_stages": len(widths),
        "features_per_stage": widths,
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * len(widths),
        "strides": strides,
        "n_conv_per_stage": [2] * len(widths),
        "n_conv_per_stage_decoder": [2] * (len(widths) - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration = {
        "data_identifier": "made",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": config.batch_size,
        "patch_size": list(config.patch_size[::-1]),
        "spacing": list(SPACING[::-1]),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": True,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": layers,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": "Dataset001_Made",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "continue_training": False,
        "configurations": {"3d_fullres": configuration},
    }
