"""Stage `register` for one patient: from two converted scans to transforms, the warped CTPA and its quality."""

import logging
import time
from pathlib import Path

import SimpleITK as sitk

from cpmn.config.register import RegisterConfig
from cpmn.errors import CpmnError, PatientError
from cpmn.files import write_json
from cpmn.images import read_image, write_image
from cpmn.lungs import segment_lungs
from cpmn.register.ants_engine import load_ants, run_ants, threads_in_use
from cpmn.register.picture import write_picture
from cpmn.register.prepare import MOVING_EXTRA_MM, Side, prepare
from cpmn.register.quality import measure, verdict
from cpmn.register.start import start_transform
from cpmn.transforms import load_transform

OUTSIDE_HU = -1024

logger = logging.getLogger(__name__)


def register_patient(
    patient_id: str, nct: Path, ctpa: Path, folder: Path, config: RegisterConfig, threads: int
) -> None:
    """Register a patient's CTPA (moving) onto the NCT (fixed).

    Writes into `folder`: `affine.mat`, `warp.nii.gz`, `inverse_warp.nii.gz` (ANTs format), `ctpa_in_nct.nii.gz`
    (int16 HU on the native NCT grid, -1024 outside the CTPA), `quality.json` and `quality.png`. A registration that
    misses a limit of `config` has `passed: false` and a reason in `quality.json`; it is no exception.

    Parameters
    ----------
    nct, ctpa : converted scans, int16 HU.
    threads : threads of ANTs and SimpleITK; the same number gives the same bytes on one machine.

    Raises PatientError if a scan cannot be read, shows no lungs, or no transform can be found.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    ants_version = load_ants(threads).__version__
    images = _read(patient_id, nct), _read(patient_id, ctpa)
    began = time.perf_counter()
    fixed = _prepare(patient_id, images[0], nct, config, extra_mm=0.0)
    moving = _prepare(patient_id, images[1], ctpa, config, extra_mm=MOVING_EXTRA_MM)
    try:
        run_ants(fixed, moving, start_transform(fixed, moving), folder, config, threads)
    except CpmnError as error:
        remedy = "Check that both scans show the chest of the same patient"
        raise PatientError(patient_id, f"the CTPA cannot be registered: {error}", f"{remedy}.", ctpa) from error
    seconds = time.perf_counter() - began
    _write_results(patient_id, fixed, moving, folder, config, seconds, f"antspyx {ants_version}")


def warp_ctpa(ctpa: sitk.Image, nct: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """CTPA in HU (int16, linear interpolation) on the grid of `nct`; -1024 where the CTPA does not reach."""
    warped = sitk.Resample(ctpa, nct, transform, sitk.sitkLinear, OUTSIDE_HU, sitk.sitkFloat32)
    return sitk.Cast(sitk.Round(warped), sitk.sitkInt16)


def _write_results(
    patient_id: str, fixed: Side, moving: Side, folder: Path, config: RegisterConfig, seconds: float, engine: str
) -> None:
    affine, warp = folder / "affine.mat", folder / "warp.nii.gz"
    write_image(warp_ctpa(moving.image, fixed.image, load_transform(affine, warp)), folder / "ctpa_in_nct.nii.gz")
    figures = measure(fixed, moving, affine, warp)
    reason = verdict(figures, config)
    run = {"seconds": round(seconds, 3), "threads": threads_in_use(), "engine": engine, "seed": config.seed}
    write_picture(fixed, moving, affine, warp, _title(patient_id, figures, reason), folder / "quality.png")
    write_json(folder / "quality.json", {**figures, **run, "passed": not reason, "reason": reason})
    level = logging.WARNING if reason else logging.INFO
    logger.log(level, "%s: %s, %.1f s", patient_id, reason or f"lung Dice {figures['lung_dice']:.3f}", seconds)


def _title(patient_id: str, figures: dict[str, float | None], reason: str) -> str:
    dice, similarity = figures["lung_dice"], figures["similarity"]
    return f"{patient_id}: lung Dice {dice or 0:.3f}, similarity {similarity or 0:.2f}. {reason or 'passed'}"


def _read(patient_id: str, path: Path) -> sitk.Image:
    try:
        return read_image(path)
    except CpmnError as error:
        raise PatientError(patient_id, f"a scan cannot be read: {error}", "Run `convert` again.", path) from error


def _prepare(patient_id: str, image: sitk.Image, path: Path, config: RegisterConfig, extra_mm: float) -> Side:
    try:
        return prepare(image, segment_lungs(image), config, extra_mm)
    except CpmnError as error:
        remedy = "Check that the series is a chest CT in HU"
        raise PatientError(patient_id, f"no lungs to register: {error}", f"{remedy}.", path) from error
