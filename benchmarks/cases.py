"""Phantom patients of the demo's size with the exact motion between their phases."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.config.phantom import PhantomConfig
from cpmn.convert.stage import convert_series
from cpmn.images import read_image, write_image
from cpmn.lungs import segment_lungs
from cpmn.phantom.stage import write_patient

SEED = 99  # none of the seeds that settings were chosen on


@dataclass(frozen=True)
class Pair:
    """A patient's converted scans, and points (n, 3) in the NCT's lungs with where the CTPA shows them, LPS in mm."""

    dicom: Path
    nct: Path
    ctpa: Path
    points: np.ndarray
    truth: np.ndarray


def make_pair(number: int, folder: Path, spacing: tuple[float, float, float] | None = None) -> Pair:
    """Phantom patient `number`; `spacing` of both phases in mm (x, y, z), the demo's if None."""
    changes = {"nct_spacing": spacing, "ctpa_spacing": spacing} if spacing else {}
    config = PhantomConfig.model_validate({"seed": SEED, **changes})
    write_patient(config, f"phantom-{number:03d}", folder)
    for phase in ("nct", "ctpa"):
        image, _ = convert_series(
            folder / phase, patient="benchmark", phase=phase, series_uid="", config=ConvertConfig()
        )
        write_image(image, folder / f"{phase}.nii.gz")
    points, truth = _lung_points(folder)
    return Pair(folder / "nct", folder / "nct.nii.gz", folder / "ctpa.nii.gz", points, truth)


def _lung_points(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    nct = read_image(folder / "nct.nii.gz")
    motion = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "motion.nii.gz")))
    inside = np.argwhere(sitk.GetArrayFromImage(segment_lungs(nct)) > 0)
    chosen = inside[np.random.default_rng(0).choice(len(inside), 5000, replace=False)]
    points = np.array([nct.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]) for index in chosen])
    return points, points + motion[tuple(chosen.T)]
