"""A real non-contrast chest, read once and prepared for many pairs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.lungs import segment_lungs
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError, named
from cpmn.phantom.chest.noise import Texture, measure_texture
from cpmn.phantom.chest.vasculature import Vessels, find_vessels
from cpmn.phantom.render import Grid

CANONICAL_MM = (264.0, 172.0, 230.0)  # extent (x, y, z) of the built-in phantom's lungs, whose motion is used
LUNG_POINTS = 3000
WIDEST_VOXEL_MM = 5.0  # our choice: wider ones do not show the vessels that emboli are put into


@dataclass(frozen=True)
class Chest:
    """A chest in the reference space: `hu` (z, y, x) float32 on `grid`, whose origin puts the lungs' middle at 0.

    `scale` (x, y, z) is the size of the lungs relative to the built-in phantom's; `points` (n, 3) in mm lie in them;
    `facts` say where the scan comes from, without names.
    """

    name: str
    hu: np.ndarray
    grid: Grid
    lungs: np.ndarray
    vessels: Vessels
    texture: Texture
    scale: np.ndarray
    points: np.ndarray
    facts: dict


def read_chest(series: Path, name: str, shrink: int) -> Chest:
    """Read a DICOM series or image file of a non-contrast chest.

    Parameters
    ----------
    shrink : in-plane voxels are averaged in blocks of so many by so many.

    Raises PatientError or CpmnError, saying what is wrong, as `read_scan`, `segment_lungs`, `find_vessels` and
    `measure_texture`, or if shrunken voxels would be too wide.
    """
    native, facts = read_scan(Path(series), patient=name, phase="nct", series_uid="", config=ConvertConfig())
    if (width := max(native.GetSpacing()[:2]) * shrink) > WIDEST_VOXEL_MM:
        problem = f"voxels averaged {shrink} x {shrink} would be {width:.1f} mm wide"
        raise PatientError(name, problem, f"Choose a smaller --shrink: at most {WIDEST_VOXEL_MM:g} mm.", series)
    image = sitk.BinShrink(native, [shrink, shrink, 1]) if shrink > 1 else native
    lungs = segment_lungs(image)
    inside = np.argwhere(sitk.GetArrayFromImage(lungs) > 0)
    middle, extent = (inside.min(axis=0) + inside.max(axis=0)) / 2, np.ptp(inside, axis=0)
    spacing = np.array([round(step, 6) for step in image.GetSpacing()])
    origin = np.round(-middle[::-1] * spacing, 2)  # whole hundredths: exact in DICOM's decimal strings
    chosen = np.random.default_rng(0).choice(len(inside), min(LUNG_POINTS, len(inside)), replace=False)
    hu = sitk.GetArrayFromImage(image).astype(np.float32)
    with named(name, series):
        texture = measure_texture(hu)
    kept = ("source_sha256", "scanner", "kernel", "kvp", "spacing_mm", "slices")
    return Chest(
        name=name,
        hu=hu,
        grid=Grid(image.GetSize(), tuple(spacing.tolist()), tuple(origin.tolist())),
        lungs=sitk.GetArrayFromImage(lungs) > 0,
        vessels=find_vessels(image, lungs),
        texture=texture,
        scale=extent[::-1] * spacing / CANONICAL_MM,
        points=inside[chosen][:, ::-1] * spacing + origin,
        facts={key: facts.get(key) for key in kept},
    )
