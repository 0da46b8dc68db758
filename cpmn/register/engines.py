"""The two engines behind one call."""

from importlib.metadata import version
from pathlib import Path

from cpmn.config.register import RegisterConfig
from cpmn.register.ants_engine import run_ants
from cpmn.register.greedy_engine import run_greedy
from cpmn.register.prepare import Side
from cpmn.register.start import start_transform

ENGINES = {"ants": run_ants, "greedy": run_greedy}
PACKAGES = {"ants": "antspyx", "greedy": "picsl-greedy"}


def register_sides(fixed: Side, moving: Side, folder: Path, config: RegisterConfig, threads: int) -> None:
    """Register with the configured engine; `affine.mat`, `warp.nii.gz` and `inverse_warp.nii.gz` land in `folder`.

    Raises CpmnError if the engine is not installed or gives no transform.
    """
    ENGINES[config.engine](fixed, moving, start_transform(fixed, moving), folder, config, threads)


def engine_version(engine: str) -> str:
    """Package and version of an engine, for the record."""
    return f"{PACKAGES[engine]} {version(PACKAGES[engine])}"
