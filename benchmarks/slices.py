"""How often the check `slices` sees two acquisitions in one stack, and how often it errs on one.

`python -m benchmarks slices`: phantom patients whose upper part comes from elsewhere, cut at four heights, and scans as
they are, real ones too.
"""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd
import SimpleITK as sitk

from benchmarks.cases import REAL_DATA, phantom_patients
from cpmn.checks.slices import coarse_slices, largest_jump, slices_agree
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan

PATIENTS = 20  # of each difficulty
CUTS = (0.25, 0.33, 0.5, 0.67)  # of the slices, from the feet
MOVED_MM = (10, 20, 30, -20, -30)
THINNED = (1, 2)  # every slice, every second
REAL = (
    "lung_pet_ct_dx/A0001/5mm_B",
    "lung_pet_ct_dx/A0002/B40f",
    "cip/ct-64Dicom",
    "odd_dicom/jpeg2000_series",
    "hemithorax_pair/3DCT_lung.mha",
    "hemithorax_pair/3DCT_lung_baseline_small.mha",
    "pulmonary_artery_cta/ct_cropped.nii.gz",
)


def measure() -> Iterator[dict[str, Any]]:
    """One row per slice thickness and kind of stack: scans, share in which nothing was seen, and their jumps."""
    rows = [row for before, patient in _pairs() for row in _patient(before, patient)]
    rows += [_row("real", "one scan", *coarse_slices(_real(name))) for name in REAL if (REAL_DATA / name).exists()]
    for name, group in pd.DataFrame(rows).groupby(["slices", "stack"], sort=False):
        yield {
            **dict(zip(("slices", "stack"), cast(tuple[str, str], name), strict=True)),
            "scans": len(group),
            "passed": round(float((group.outcome == "passed").mean()), 3),
            **{f"jump_{q:.0%}": round(float(group.jump.quantile(q)), 2) for q in (0.05, 0.5, 1.0)},
        }


def _pairs() -> Iterator[tuple[dict[str, sitk.Image], dict[str, sitk.Image]]]:
    """Coarse scans by phase of each patient, and those of the patient before."""
    before = None
    for scans in phantom_patients(PATIENTS):
        patient = {phase: _coarse(hu) for phase, (hu, _) in scans.items()}
        if before is not None:
            yield before, patient
        before = patient


def _coarse(image: sitk.Image) -> sitk.Image:
    """The image as the check looks at it; half a coarse pixel aside, as all others."""
    slices, (down, across) = coarse_slices(image)
    coarse = sitk.GetImageFromArray(slices)
    coarse.SetSpacing((across, down, image.GetSpacing()[2]))
    coarse.SetOrigin(image.GetOrigin())
    return coarse


def _patient(before: dict[str, sitk.Image], patient: dict[str, sitk.Image]) -> Iterator[dict[str, Any]]:
    for phase, image in patient.items():
        other = patient["nct" if phase == "ctpa" else "ctpa"]
        uppers = {
            "upper part of the other phase": _on_grid(other, image),
            "upper part of the other phase, middle on middle": _on_grid(_centred(other, image), image),
            "upper part of another patient": _on_grid(_centred(before[phase], image), image),
        }
        for every in THINNED:
            in_plane_mm, step = image.GetSpacing()[1::-1], every * image.GetSpacing()[2]
            slices, name = sitk.GetArrayFromImage(image)[::every], "3 to 3.5 mm" if every == 1 else "6 to 7 mm"
            yield _row(name, "one scan", slices, in_plane_mm)
            for cut in (round(share * len(slices)) for share in CUTS):
                for mm in MOVED_MM:
                    moved = np.concatenate([slices[:cut], slices[cut + round(mm / step) :]])
                    yield _row(name, f"upper part moved by {mm} mm", moved, in_plane_mm)
                for stack, upper in uppers.items():
                    above = upper[::every][cut:]
                    seen = above[np.ptp(above, axis=(1, 2)) > 0]  # the scan that it comes from may end before
                    yield _row(name, stack, np.concatenate([slices[:cut], seen]), in_plane_mm)


def _row(name: str, stack: str, slices: np.ndarray, in_plane_mm: tuple[float, float]) -> dict[str, Any]:
    image = sitk.GetImageFromArray(slices)
    image.SetSpacing((in_plane_mm[1], in_plane_mm[0], 1.0))
    (finding,) = slices_agree(image)
    return {"slices": name, "stack": stack, "jump": largest_jump(slices, in_plane_mm)[0], "outcome": finding.outcome}


def _real(name: str) -> sitk.Image:
    return read_scan(REAL_DATA / name, patient=name, phase="nct", series_uid="", config=ConvertConfig())[0]


def _on_grid(image: sitk.Image, like: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.Resample(image, like, sitk.Transform(), sitk.sitkLinear, -1000.0))


def _centred(image: sitk.Image, on: sitk.Image) -> sitk.Image:
    """The image with its middle at that of another."""
    moved = sitk.Image(image)
    moved.SetOrigin((image.GetOrigin() + _middle(on) - _middle(image)).tolist())
    return moved


def _middle(image: sitk.Image) -> np.ndarray:
    return np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
