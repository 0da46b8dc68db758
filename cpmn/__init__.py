"""Pulmonary embolism on non-contrast chest CT, learnt across CT phases (CPMN, Bai et al., MICCAI 2024)."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`from cpmn import load_model` loads what reads scans, and nothing else does (`cpmn.predict.model`)."""
    if name == "load_model":
        return import_module("cpmn.predict.model").load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
