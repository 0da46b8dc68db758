"""Versions of what computes, and on which device."""

import os
import platform
from importlib import metadata
from typing import Any

import cpmn

PACKAGES = ("torch", "monai", "antspyx", "SimpleITK", "numpy", "pydicom", "snakemake", "dvc", "mlflow")


def versions() -> dict[str, Any]:
    """Package versions (None where a package is not installed), Python, platform, device and cores."""
    return {
        "cpmn": cpmn.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": _device(),
        "cores": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "cpu"
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
