"""Versions of what computes, and on which machine."""

import os
import platform
from importlib import metadata
from typing import Any

import cpmn

PACKAGES = ("torch", "monai", "antspyx", "SimpleITK", "numpy", "pydicom", "snakemake", "dvc", "mlflow")


def versions() -> dict[str, Any]:
    """Package versions (None where a package is not installed), Python, platform and cores."""
    return {
        "cpmn": cpmn.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
