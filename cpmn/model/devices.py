"""Devices that networks compute on, and their precision."""

from typing import Literal

import torch

from cpmn.errors import CpmnError


def choose_device(name: str) -> torch.device:
    """Device for `auto`, `cpu` or `cuda`. Raises CpmnError if CUDA is asked for and absent."""
    available = torch.cuda.is_available()
    if name.startswith("cuda") and not available:
        raise CpmnError("device 'cuda' was asked for, but PyTorch finds no CUDA GPU. Use 'auto' or 'cpu'.")
    return torch.device(("cuda" if available else "cpu") if name == "auto" else name)


def device_name(device: torch.device) -> str:
    """The GPU's name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def mixed_precision(device: torch.device, wanted: bool | Literal["auto"]) -> torch.autocast:
    """Computing in bfloat16, if `wants_bfloat16` and the device has instructions for it; else in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wants_bfloat16(wanted, device) and has_bfloat16(device))


def wants_bfloat16(wanted: bool | Literal["auto"], device: torch.device) -> bool:
    """Whether a setting asks for bfloat16: `auto` does on CUDA alone."""
    return device.type == "cuda" if wanted == "auto" else wanted


def has_bfloat16(device: torch.device | None = None) -> bool:
    """Whether a GPU (Ampere and later) or this processor (AVX512-BF16, AMX; None is it too) can compute in bfloat16.

    Without, bfloat16 takes 1.8 times as long as float32 (a training step of the benchmark's network on two cores of an
    Intel Xeon with plain AVX-512); with them it is what makes a step shorter.
    """
    if device is not None and device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(value is True for name, value in torch.cpu.get_capabilities().items() if "bf16" in name)
