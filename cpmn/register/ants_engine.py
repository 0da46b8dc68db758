"""Running antsRegistration (ANTsPy): sampled affine, then SyN, in one call."""

import importlib
import logging
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import SimpleITK as sitk

from cpmn.config.register import RegisterConfig
from cpmn.errors import CpmnError, MachineError, blame_machine
from cpmn.files import written_atomically
from cpmn.imports import empty
from cpmn.register.prepare import Side
from cpmn.volume.nifti import require_whole

THREADS_VARIABLE = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
PRODUCTS = {
    "affine.mat": "0GenericAffine.mat",
    "warp.nii.gz": "1Warp.nii.gz",
    "inverse_warp.nii.gz": "1InverseWarp.nii.gz",
}
CONVERGENCE = "1e-6,10"  # ANTs' own default of antsRegistrationSyN.sh: threshold, window
NOT_FOR_REGISTRATION = ("ants.deeplearn", "ants.learn", "ants.math", "ants.plotting")
"""Parts of ANTsPy that load scikit-learn, statsmodels and matplotlib: 1.1 of its 1.5 processor seconds, in each job."""
LEAST_FREE_BYTES = 1 << 20  # our choice: with less nothing of a registration is written
SLOPE_WINDOW = 6  # iterations; our choice: easy pairs end early, large motions go on

logger = logging.getLogger(__name__)


def load_ants(threads: int) -> ModuleType:
    """Import ANTsPy so that it computes with `threads` threads.

    ITK reads the number once, at import: within one process a later call with another number only warns.
    """
    if "ants" not in sys.modules:
        os.environ[THREADS_VARIABLE] = str(threads)
    elif threads_in_use() != threads:
        logger.warning("ANTs was loaded with %s threads and stays so; %s were asked for", threads_in_use(), threads)
    with empty(NOT_FOR_REGISTRATION):
        return importlib.import_module("ants")


def threads_in_use() -> int:
    """Threads that ANTs computes with in this process (every CPU if the variable is not set)."""
    return int(os.environ.get(THREADS_VARIABLE) or os.cpu_count() or 1)


def run_ants(
    fixed: Side, moving: Side, start: sitk.AffineTransform, folder: Path, config: RegisterConfig, threads: int
) -> None:
    """Register the working images, moving onto fixed, and write `affine.mat`, `warp.nii.gz`, `inverse_warp.nii.gz`.

    Parameters
    ----------
    start : first guess, fixed to moving points.
    folder : where the three files go, in ANTs' own formats.

    Raises CpmnError if ANTs gives no transform, MachineError where the machine kept it from that.
    """
    ants = load_ants(threads)
    with TemporaryDirectory(prefix="register-") as name:
        work = Path(name)
        _write_inputs(fixed, moving, start, work)
        try:
            ants.registration(ants_arguments(work, config), None)
        except RuntimeError as error:
            blame_machine(error)
            _require_room(work)
            raise CpmnError(f"ANTs found no transform ({error})") from error
        for product, written in PRODUCTS.items():
            if not (work / written).is_file():
                _require_room(work)
                raise CpmnError(f"ANTs wrote no {written}")
            require_whole(work / written)
            with written_atomically(folder / product) as temporary:
                temporary.write_bytes((work / written).read_bytes())


def ants_arguments(work: Path, config: RegisterConfig) -> list[str]:
    """Command line of antsRegistration for the images, masks and first guess that `run_ants` puts into `work`."""
    pair = f"{work / 'fixed.nii'},{work / 'moving.nii'}"
    shrink = [2 * 2**level for level in reversed(range(len(config.affine_iterations)))]
    affine = [
        *("--transform", "Affine[0.25]"),
        *("--metric", f"GC[{pair},1,1,Random,{config.affine_sampling}]"),
        *("--convergence", f"[{_joined(config.affine_iterations)},{CONVERGENCE}]"),
        *("--shrink-factors", _joined(shrink), "--smoothing-sigmas", _joined(factor // 2 for factor in shrink)),
    ]
    step = f"{config.gradient_step},{config.update_smoothing},{config.total_smoothing}"
    deformable = [
        *("--transform", f"SyN[{step}]"),
        *("--metric", f"{config.metric}[{pair},1,{config.radius}]"),
        *("--convergence", f"[{_joined(config.iterations)},{config.convergence},{SLOPE_WINDOW}]"),
        *("--shrink-factors", _joined(config.shrink_factors)),
        *("--smoothing-sigmas", _joined(factor / 2 for factor in config.shrink_factors)),
    ]
    common = [
        *("--dimensionality", "3", "--float", "1", "--random-seed", str(config.seed)),
        *("--use-histogram-matching", "0", "--collapse-output-transforms", "1"),
        *("--output", f"{work}/", "--initial-moving-transform", str(work / "start.mat")),
    ]
    masks = ["--masks", f"[{work / 'fixed_near.nii'},{work / 'moving_seen.nii'}]"]
    return [*common, *affine, *masks, *deformable, *masks]


def _write_inputs(fixed: Side, moving: Side, start: sitk.AffineTransform, work: Path) -> None:
    images = {"fixed": fixed.working, "moving": moving.working}
    masks = {"fixed_near": fixed.near, "moving_seen": moving.seen}
    for name, image in {**images, **masks}.items():
        sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32), str(work / f"{name}.nii"))
        require_whole(work / f"{name}.nii")
    sitk.WriteTransform(start, str(work / "start.mat"))


def _require_room(work: Path) -> None:
    """Raise MachineError if the disk of `work` is full, of which ANTs says nothing."""
    if shutil.disk_usage(work).free < LEAST_FREE_BYTES:
        raise MachineError(f"the disk of temporary files is full ({work.parent})")


def _joined(values: Iterable[float]) -> str:
    return "x".join(str(value) for value in values)
