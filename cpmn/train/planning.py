"""Patch, depth and widths from the fingerprint, and the memory that a training takes, before anything is allocated.

The approach is nnU-Net's (Isensee 2021): the patch is as large as a memory budget allows, near isotropic in mm, no
larger than the median crop; what memory is left then widens the network. The budget is a setting, not the machine's
free memory: the same cohort and configuration give the same network everywhere. It is counted for two pathways that are
aligned, whatever a variant trains: neither pathways nor loss terms change the network.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import psutil
import torch

from cpmn.config.train import Phase, Spacing, TrainConfig
from cpmn.config.train.network import NetworkConfig
from cpmn.errors import CpmnError
from cpmn.model.devices import has_bfloat16
from cpmn.model.network import EVIDENCE_LEVEL, build_pathway
from cpmn.model.plan import pooling_strides

FIRST_WIDTHS = (32, 16)  # nnU-Net's where the whole crop fits, else ours: networks that two cores can train
WIDEST, MOST_LEVELS = 8, 5  # times the first width, and levels: ours
SMALLEST_BOTTLENECK = 4  # ours, as nnU-Net: no axis is pooled below so many voxels
FLOAT_BYTES = 4
WEIGHT_COPIES = 4  # weight, gradient, two moments of AdamW
MAPS_FINEST, MAPS_ELSEWHERE, MAPS_BOTTLENECK = 7, 10, 6  # feature maps kept for the backward pass at a level
MIXED_SHARE = 0.95
"""Of float32's memory with bfloat16: CUDA's autocast computes GroupNorm in float32, and its input and output are kept
so. Measured on a CPU made to do the same (tested), whose own GroupNorm stays in bfloat16: two patches in the default
network keep 20.7 of 21.9 MB, larger ones up to 0.99."""
LOSS_MAPS = 2  # about so many more where two pathways' features are compared


def planned(config: TrainConfig, images: dict[str, Any], spacing: Spacing) -> TrainConfig:
    """`config` with patch_size and channels from the fingerprint `images`, if `network.planned`.

    Raises CpmnError if not even the smallest patch fits `memory_gb`.
    """
    if not config.network.planned:
        return config
    for edge_mm, width in _sizes(images, spacing):
        patch = _patch(edge_mm, images["median_size"], images["median_spacing"], spacing)
        size = {"patch_size": patch, "channels": _channels(patch, spacing, width)}
        if _costliest_bytes(config, size, spacing) <= config.network.memory_gb * 1e9:
            return config.changed(network=size)
    raise CpmnError(
        f"train.network.memory_gb {config.network.memory_gb} holds no network at a spacing of {spacing} mm and a batch "
        f"of {config.sampling.batch_size}. Give more memory, a smaller train.sampling.batch_size or a coarser "
        "train.network.spacing."
    )


def _costliest_bytes(config: TrainConfig, size: dict[str, Any], spacing: Spacing) -> int:
    """Memory of two pathways that are aligned, whatever the variant trains."""
    network = size | {"pathways": get_args(Phase)}
    aligned = config.changed(network=network, loss={"alignment_weight": 1.0}, schedule={"pretraining_fraction": 0.0})
    return training_bytes(aligned, spacing)


def check_memory(config: TrainConfig, spacing: Spacing, device: torch.device) -> None:
    """Raises CpmnError if the training does not fit into the device's free memory, which its processes share on CPU."""
    on_cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_cuda else min(psutil.virtual_memory().available, job_limit())
    mixed = on_cuda and config.machine.bfloat16 is not False and has_bfloat16(device)
    needed = (
        training_bytes(config, spacing) * (MIXED_SHARE if mixed else 1) * (1 if on_cuda else config.machine.processes)
    )
    if needed > free:
        raise CpmnError(
            f"training needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free on {device.type}. "
            "Give a smaller train.sampling.batch_size (with train.machine.accumulation), train.network.patch_size or "
            "train.network.channels."
        )


def job_limit(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes that a container or a cluster's job may take, by Linux's control groups (version 2); infinite without."""
    lines = groups.read_text().splitlines() if groups.is_file() else []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    limits = [folder / "memory.max" for folder in (root / own, *(root / own).parents) if folder.is_relative_to(root)]
    found = [path.read_text().strip() for path in limits if path.is_file()]
    return min((float(limit) for limit in found if limit.isdecimal()), default=math.inf)


def parameters(config: TrainConfig, spacing: Spacing) -> int:
    """Weights of the NCT pathway alone, which is all that reads scans."""
    network = config.network
    with torch.device("meta"):
        pathway = build_pathway(network.channels, _strides(network, spacing), 0, network.absolute_hu)
    return sum(weight.numel() for weight in pathway.parameters())


def training_bytes(config: TrainConfig, spacing: Spacing) -> int:
    """Memory of weights, optimiser and feature maps, from shapes alone; within a third of what is kept (tested)."""
    network, both = config.network, len(config.network.pathways) > 1
    sizes = [math.prod(network.patch_size)]
    for stride in _strides(network, spacing):
        sizes.append(sizes[-1] // math.prod(stride))
    maps = [MAPS_FINEST, *[MAPS_ELSEWHERE] * (len(sizes) - 2), MAPS_BOTTLENECK]
    more = LOSS_MAPS if both and config.loss.alignment_weight else 0
    values = sum((n + more) * width * size for n, width, size in zip(maps, network.channels, sizes, strict=True))
    values += sizes[0] * 8 + sizes[EVIDENCE_LEVEL] * 4  # masks, logits and their losses
    per_pathway = config.sampling.batch_size * values + WEIGHT_COPIES * parameters(config, spacing)
    return FLOAT_BYTES * per_pathway * len(network.pathways)


def _strides(config: NetworkConfig, spacing: Spacing) -> tuple[tuple[int, int, int], ...]:
    return pooling_strides(spacing, config.patch_size, len(config.channels))


def _sizes(images: dict[str, Any], spacing: Spacing) -> list[tuple[float, int]]:
    """Edges in mm and first widths to try, the largest patch first and only for that the wider network."""
    edges = _edges_mm(images, spacing)
    return [(edges[0], FIRST_WIDTHS[0]), *((edge, FIRST_WIDTHS[1]) for edge in edges)]


def _edges_mm(images: dict[str, Any], spacing: Spacing) -> list[float]:
    """Lengths to try, longest first: from the longest axis of the median crop down to a few voxels."""
    longest = max(n * s for n, s in zip(images["median_size"], images["median_spacing"], strict=True))
    shortest = 2 * SMALLEST_BOTTLENECK * max(spacing)
    count = max(1, math.ceil(math.log(longest / shortest) / math.log(1.1)))
    return [longest / 1.1**n for n in range(count + 1)]


def _patch(edge_mm: float, size: Sequence[int], native: Sequence[float], spacing: Spacing) -> tuple[int, int, int]:
    """A cube of `edge_mm`, cut to the median crop, in voxels: multiples of 8, at least 8 (x, y, z)."""
    edges = [min(edge_mm, n * s) / step for n, s, step in zip(size, native, spacing, strict=True)]
    x, y, z = (max(8, int(edge // 8) * 8) for edge in edges)
    return x, y, z


def _channels(patch: tuple[int, int, int], spacing: Spacing, width: int) -> tuple[int, ...]:
    """As many levels as keep `SMALLEST_BOTTLENECK` voxels along every axis, doubling the first `width`."""
    levels = 2
    while levels < MOST_LEVELS and _bottleneck(patch, spacing, levels + 1) >= SMALLEST_BOTTLENECK:
        levels += 1
    return tuple(width * min(2**level, WIDEST) for level in range(levels))


def _bottleneck(patch: tuple[int, int, int], spacing: Spacing, levels: int) -> int:
    try:
        strides = pooling_strides(spacing, patch, levels)
    except CpmnError:
        return 0
    return min(n // math.prod(stride[axis] for stride in strides) for axis, n in enumerate(patch))
