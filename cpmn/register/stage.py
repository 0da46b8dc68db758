"""Stage `register` for one patient: from two converted scans to transforms, the warped CTPA and its quality."""

import logging
import time
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from cpmn.anatomy.lungs import MINIMUM_ML, segment_lungs
from cpmn.config.register import RegisterConfig
from cpmn.errors import CpmnError, PatientError
from cpmn.files import write_json
from cpmn.register.ants_engine import load_ants, threads_in_use
from cpmn.register.engines import engine_version, register_sides
from cpmn.register.picture import write_picture
from cpmn.register.prepare import MOVING_EXTRA_MM, Side, prepare
from cpmn.register.quality import measure, verdict
from cpmn.volume.images import AIR_HU, read_image, write_image
from cpmn.volume.transforms import load_transform

TRANSFORMS = ("affine.mat", "warp.nii.gz", "inverse_warp.nii.gz")

logger = logging.getLogger(__name__)


def register_patient(
    patient_id: str,
    nct: Path,
    ctpa: Path,
    folder: Path,
    config: RegisterConfig,
    threads: int,
    must_pass: bool = False,
    minimum_lung_ml: float = MINIMUM_ML,
) -> None:
    """Register a patient's CTPA (moving) onto the NCT (fixed).

    Writes into `folder`: `affine.mat`, `warp.nii.gz`, `inverse_warp.nii.gz` (ANTs format), `ctpa_in_nct.nii.gz`
    (int16 HU on the native NCT grid, -1024 outside the CTPA), `quality.json` and `quality.png`. A registration that
    misses a limit of `config` is tried once more with `config.fallback`. If that misses one too, `quality.json` says
    `passed: false` and the reason.

    Parameters
    ----------
    nct, ctpa : converted scans, int16 HU.
    threads : threads of ANTs and SimpleITK; the same number gives the same bytes on one machine.
    must_pass : whether a registration that does not pass is an exception.
    minimum_lung_ml : smallest accepted total lung volume of either scan.

    Raises PatientError if a scan cannot be read, shows no lungs, no transform can be found, or none passes that must.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    load_ants(threads)
    images = _read(patient_id, nct), _read(patient_id, ctpa)
    began = time.perf_counter()
    lungs = [_lungs(patient_id, *scan, minimum_lung_ml) for scan in zip(images, (nct, ctpa), strict=True)]
    for schedule, settings in schedules(config).items():
        fixed = prepare(images[0], lungs[0], settings)
        moving = prepare(images[1], lungs[1], settings, MOVING_EXTRA_MM)
        try:
            register_sides(fixed, moving, folder, settings, threads)
        except CpmnError as error:
            remedy = "Check that both scans show the chest of the same patient"
            raise PatientError(patient_id, f"the CTPA cannot be registered: {error}", f"{remedy}.", ctpa) from error
        run = {"schedule": schedule, "seconds": round(time.perf_counter() - began, 3)}
        figures = measure(fixed, moving, *(folder / name for name in TRANSFORMS))
        reason = verdict(figures, settings)
        if not reason:
            break
        logger.warning("%s: schedule %s: %s", patient_id, schedule, reason)
    run |= {"threads": threads_in_use(), "engine": engine_version(settings.engine), "seed": settings.seed}
    _write_results(patient_id, fixed, moving, folder, {**figures, **run, "passed": not reason, "reason": reason})
    if reason and must_pass:
        remedy = "Check that both scans are this patient's; with on_bad_patient: exclude, quality.png shows the pair"
        raise PatientError(patient_id, f"the registration is not good enough: {reason}", f"{remedy}.", ctpa)


def schedules(config: RegisterConfig) -> dict[str, RegisterConfig]:
    """Settings by name, in the order in which they are tried."""
    second = config.second_try()
    return {"default": config} | ({"fallback": second} if second else {})


def warp_ctpa(ctpa: sitk.Image, nct: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """CTPA in HU (int16, linear interpolation) on the grid of `nct`; -1024 where the CTPA does not reach."""
    warped = sitk.Resample(ctpa, nct, transform, sitk.sitkLinear, AIR_HU, sitk.sitkFloat32)
    return sitk.Cast(sitk.Round(warped), sitk.sitkInt16)


def _write_results(patient_id: str, fixed: Side, moving: Side, folder: Path, quality: dict[str, Any]) -> None:
    affine, warp = folder / "affine.mat", folder / "warp.nii.gz"
    write_image(warp_ctpa(moving.image, fixed.image, load_transform(affine, warp)), folder / "ctpa_in_nct.nii.gz")
    write_picture(fixed, moving, affine, warp, _title(patient_id, quality), folder / "quality.png")
    write_json(folder / "quality.json", quality)
    outcome = quality["reason"] or f"lung Dice {quality['lung_dice']:.3f}"
    logger.info("%s: %s, %.1f s", patient_id, outcome, quality["seconds"])


def _title(patient_id: str, quality: dict[str, Any]) -> str:
    dice, similarity = quality["lung_dice"], quality["similarity"]
    outcome = quality["reason"] or "passed"
    return f"{patient_id}: lung Dice {dice or 0:.3f}, similarity {similarity or 0:.2f}. {outcome}"


def _read(patient_id: str, path: Path) -> sitk.Image:
    try:
        return read_image(path)
    except CpmnError as error:
        raise PatientError(patient_id, f"a scan cannot be read: {error}", "Run `convert` again.", path) from error


def _lungs(patient_id: str, image: sitk.Image, path: Path, minimum_ml: float) -> sitk.Image:
    try:
        return segment_lungs(image, minimum_ml=minimum_ml)
    except CpmnError as error:
        remedy = "Check that the series is a chest CT in HU"
        raise PatientError(patient_id, f"no lungs to register: {error}", f"{remedy}.", path) from error
