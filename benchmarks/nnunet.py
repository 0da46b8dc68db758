"""nnU-Net v2 as a peer: its own trainer, with our patch, batch and strides and as many weights as our NCT pathway.

It needs `nnunetv2` beside the project's packages: pip install it and what it misses with `--no-deps` into a folder on
PYTHONPATH or an environment of its own, since it would change the pinned PyTorch.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from cpmn.config.train import Spacing, TrainConfig
from cpmn.model.plan import pooling_strides
from cpmn.train.nnunet import dataset
from cpmn.train.planning import parameters

CONFIGURATION, DATASET, ARRAYS = "3d_fullres", "Dataset001_Made", "made"


def use_folders(folder: Path) -> None:
    """Let nnU-Net keep everything under `folder` and augment in this process, without compiling."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    os.environ |= {name: str(folder / name) for name in names} | {"nnUNet_n_proc_DA": "0", "nnUNet_compile": "f"}
    try:
        import nnunetv2  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        sys.exit(f"nnU-Net is not installed: see {__file__}.")
    (folder / "nnUNet_preprocessed" / DATASET / ARRAYS).mkdir(parents=True, exist_ok=True)


def new_trainer(plans: dict[str, Any], cases: int) -> Any:
    """nnU-Net's trainer on all cases, initialised, on the CPU."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # pyright: ignore[reportMissingImports]

    trainer = nnUNetTrainer(dict(plans), CONFIGURATION, "all", dataset(cases), torch.device("cpu"))
    trainer.initialize()
    trainer.set_deep_supervision_enabled(True)
    return trainer


def new_step(
    volumes: Sequence[tuple[np.ndarray, np.ndarray]],
    config: TrainConfig,
    spacing: Spacing,
    folder: Path,
    pathways: int = 1,
) -> tuple[Callable[[], object], int]:
    """A training step on normalised volumes and their masks, and the number of weights: those of so many pathways."""
    use_folders(folder)
    plans, weights = matched_plans(config, spacing, pathways)
    for n, (image, clot) in enumerate(volumes):
        write_case(folder, f"case{n}", image, clot, config)
    trainer = new_trainer(plans, cases=len(volumes))
    loader, _ = trainer.get_dataloaders()
    return lambda: trainer.train_step(next(loader)), weights


def read_windows(network: torch.nn.Module, volume: torch.Tensor, patch_size: Sequence[int], overlap: float) -> Any:
    """Logits of `network` as nnU-Net's predictor slides it over a volume (1, z, y, x); `patch_size` is (x, y, z)."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # pyright: ignore[reportMissingImports]

    predictor = nnUNetPredictor(
        tile_step_size=1 - overlap, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=tuple(patch_size[::-1]))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=1)
    return predictor.predict_sliding_window_return_logits(volume)


def write_case(folder: Path, name: str, image: np.ndarray, clot: np.ndarray, config: TrainConfig) -> None:
    """A normalised volume (z, y, x) and its mask in nnU-Net's format."""
    from nnunetv2.training.dataloading import nnunet_dataset  # pyright: ignore[reportMissingImports]

    where, volume = np.argwhere(clot), image[None]
    blocks, chunks = nnunet_dataset.comp_blosc2_params(volume.shape, config.network.patch_size[::-1])
    located = {"class_locations": {1: np.column_stack([np.zeros(len(where), int), where])}}
    layout = {"chunks": chunks, "blocks": blocks, "chunks_seg": chunks, "blocks_seg": blocks}
    path = str(folder / "nnUNet_preprocessed" / DATASET / ARRAYS / name)
    nnunet_dataset.nnUNetDatasetBlosc2.save_case(volume, clot[None].astype(np.int8), located, path, **layout)


def matched_plans(config: TrainConfig, spacing: Spacing, pathways: int = 1) -> tuple[dict[str, Any], int]:
    """The plan whose widths come closest to the weights of so many pathways of ours, and its number of weights."""
    target, best = pathways * parameters(config, spacing), None
    for factor in np.linspace(0.6, 1.1, 26) * pathways**0.5:
        plans = make_plans(config, spacing, [max(4, round(n * factor)) for n in config.network.channels])
        size = _weights(plans)
        if best is None or abs(size - target) < abs(best[1] - target):
            best = (plans, size)
    assert best is not None
    return best


def _weights(plans: dict[str, Any]) -> int:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet  # pyright: ignore[reportMissingImports]
    from torch import nn

    kwargs = dict(plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"])
    kwargs |= {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    with torch.device("meta"):
        network = PlainConvUNet(input_channels=1, num_classes=2, deep_supervision=True, **kwargs)
    return sum(weight.numel() for weight in network.parameters())


def make_plans(config: TrainConfig, spacing: Spacing, widths: list[int]) -> dict[str, Any]:
    """A plan as nnU-Net writes it: PlainConvUNet, its default layers, our patch, batch and strides (z, y, x)."""
    strides = [[1, 1, 1], *(list(s[::-1]) for s in pooling_strides(spacing, config.network.patch_size, len(widths)))]
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
        "data_identifier": ARRAYS,
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": config.sampling.batch_size,
        "patch_size": list(config.network.patch_size[::-1]),
        "spacing": list(spacing[::-1]),
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
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "continue_training": False,
        "configurations": {CONFIGURATION: configuration},
    }
