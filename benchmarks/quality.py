"""Quality control of registration on right and on deliberately spoilt pairs: every figure, and the verdict.

At a coarse working resolution, which takes seconds a pair and is the harder case for right pairs.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.pairs import phantom_pair
from cpmn.config.register import RegisterConfig
from cpmn.errors import PatientError
from cpmn.files import read_json
from cpmn.register.stage import register_patient
from cpmn.volume.images import image_like, write_image

SETTINGS = {"spacing_mm": 5.0, "iterations": (40, 10), "fallback": {"seed": 2}}
FIGURES = (
    "lung_coverage",
    "lung_dice",
    "similarity",
    "vessel_overlap",
    "inverse_error_mm",
    "jacobian_min",
    "folding_fraction",
)


def measure() -> Iterator[dict]:
    """One row per pair; demo-size phantoms."""
    one, two = phantom_pair(1), phantom_pair(2)
    array = sitk.GetArrayFromImage(one.ctpa)
    size = one.ctpa.GetSize()
    pairs = {
        "right, patient 1": (one.nct, one.ctpa),
        "right, patient 2": (two.nct, two.ctpa),
        "right, table 100 mm away": (one.nct, shifted(one.ctpa, (100.0, -60.0, 100.0))),
        "wrong patient": (one.nct, two.ctpa),
        "wrong patient, the other way": (two.nct, one.ctpa),
        "mirrored left to right": (one.nct, image_like(np.ascontiguousarray(array[:, :, ::-1]), one.ctpa)),
        "upside down": (one.nct, image_like(np.ascontiguousarray(array[::-1]), one.ctpa)),
        "no overlap": (one.nct[:, :, : one.nct.GetSize()[2] // 2], one.ctpa[:, :, 2 * size[2] // 3 :]),
    }
    for name, pair in pairs.items():
        yield {"pair": name, **_figures(*pair)}


def shifted(image: sitk.Image, by_mm: tuple[float, float, float]) -> sitk.Image:
    """The same image with its origin moved: another position of the table."""
    moved = sitk.Image(image)
    moved.SetOrigin([o + b for o, b in zip(image.GetOrigin(), by_mm, strict=True)])
    return moved


def _figures(nct: sitk.Image, ctpa: sitk.Image) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_image(nct, folder / "nct.nii.gz")
        write_image(ctpa, folder / "ctpa.nii.gz")
        try:
            config = RegisterConfig.model_validate(SETTINGS)
            register_patient("p", folder / "nct.nii.gz", folder / "ctpa.nii.gz", folder, config, threads=1)
        except PatientError as error:
            return {"passed": False, "reason": str(error).split(" (")[0]}
        quality = read_json(folder / "quality.json")
    figures = {key: None if quality[key] is None else round(quality[key], 3) for key in FIGURES}
    return {**figures, "schedule": quality["schedule"], "passed": quality["passed"], "reason": quality["reason"]}
