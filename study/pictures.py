"""Pictures of the result page from a finished run: a clot that was found, one that was missed, and a false mark.

Of each kind the one of middle volume is taken, so that no choice flatters or shames the network.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cc3d
import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpmn.errors import CpmnError
from cpmn.files import read_test_rows
from cpmn.scoring.lesions import components
from cpmn.volume.images import read_image
from cpmn.volume.overlay import glow, grey, read_upright, show_slice

KINDS = {"found": "a clot that is marked", "missed": "a clot that is not marked", "false-mark": "a mark without a clot"}
WINDOW_HU = (-35.0, 125.0)  # centre 45, width 160 HU: faint clots show
SIDE_MM = 80.0
TRUTH, MARK = "#35c46a", "#3fd6ff"  # apart from each other and from the map
SMALLEST_ML = 0.05  # specks show nothing
FORMAT = {"dpi": 110, "metadata": {"Software": None}}


class Place(NamedTuple):
    """A clot or a mark: its patient, volume in mL, and the voxel (z, y, x) at its middle."""

    kind: str
    patient: str
    ml: float
    voxel: tuple[int, int, int]


def draw_pictures(results: Path, variant: str, folder: Path) -> list[Place]:
    """Write `folder`/{found,missed,false-mark}.png from the test patients of a run; what each shows.

    Raises CpmnError for a run in which one of the kinds does not occur.
    """
    patients = read_test_rows(results / "evaluate" / variant / "patients.csv").index
    places = [place for name in patients for place in _places(results, variant, name)]
    shown = []
    for kind in KINDS:
        own = sorted((place for place in places if place.kind == kind), key=lambda place: place.ml)
        if not own:
            raise CpmnError(f"{results}: no test patient shows {KINDS[kind]}. Take a run with more of them.")
        shown.append(own[len(own) // 2])
        _draw(shown[-1], results, variant, folder / f"{kind}.png")
    return shown


def _places(results: Path, variant: str, patient: str) -> Iterator[Place]:
    """Clots that a mark touches or not, and marks that touch no clot."""
    masks = {name: _upright(results, variant, name, patient) for name in ("predictions", "reference")}
    image = masks["predictions"]
    marked, ids = sitk.GetArrayFromImage(image) != 0, sitk.GetArrayFromImage(masks["reference"]).astype(np.uint16)
    marks, voxel_ml = components(marked, image.GetSpacing()), float(np.prod(image.GetSpacing())) / 1000
    clots = cc3d.connected_components((ids > 0).astype(np.uint8), connectivity=26)
    hit = {int(n) for n in np.unique(clots[marked])}
    true = {int(n) for n in np.unique(marks[ids > 0])}
    for labels, kind_of in (
        (clots, lambda n: "found" if n in hit else "missed"),
        (marks, lambda n: "" if n in true else "false-mark"),
    ):
        for number in range(1, int(labels.max()) + 1):
            voxels = np.argwhere(labels == number)
            if (kind := kind_of(number)) and len(voxels) * voxel_ml >= SMALLEST_ML:
                z, y, x = (int(n) for n in np.median(voxels, axis=0))
                yield Place(kind, patient, len(voxels) * voxel_ml, (z, y, x))


def _draw(place: Place, results: Path, variant: str, path: Path) -> None:
    """Three close-ups: the scan, the truth, the network's mark over its class activation."""
    scan = read_upright(results / "convert" / place.patient / "nct.nii.gz")
    assert scan is not None
    names = ("reference", "predictions", "cam")
    truth, mark, cam = (sitk.GetArrayFromImage(_upright(results, variant, name, place.patient)) for name in names)
    rows, columns = _field(place, scan)
    cut = (place.voxel[0], rows, columns)
    hu, spacing = sitk.GetArrayFromImage(scan)[cut], scan.GetSpacing()[:2]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, (title, marked) in zip(
        figure.subplots(1, 3),
        {"NCT": {}, "truth": {TRUTH: truth[cut] > 0}, "mark and map": {MARK: mark[cut] > 0}}.items(),
        strict=True,
    ):
        _panel(axes, hu, spacing, marked, title, cam[cut] if title == "mark and map" else None)
    figure.supxlabel(
        f"Phantom patient, not a person: {KINDS[place.kind]}, {place.ml:.2f} mL. {SIDE_MM:g} mm wide, "
        f"{WINDOW_HU[0]:g} to {WINDOW_HU[1]:g} HU.",
        fontsize=8,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **FORMAT)


def _panel(
    axes: Axes, hu: np.ndarray, spacing: tuple[float, float], marked: dict, title: str, cam: np.ndarray | None
) -> None:
    extent = show_slice(axes, hu, spacing, marked)
    axes.images[0].set_data(grey(hu, WINDOW_HU))
    axes.set_title(title, fontsize=10)
    if cam is not None:
        axes.imshow(glow(cam), extent=extent)


def _field(place: Place, scan: sitk.Image) -> tuple[slice, slice]:
    """Rows and columns of the close-up, moved inside the slice where it would leave it."""
    fields = []
    for middle, size, step in zip(place.voxel[1:], scan.GetSize()[1::-1], scan.GetSpacing()[1::-1], strict=True):
        width = min(round(SIDE_MM / step), size)
        first = int(np.clip(middle - width // 2, 0, size - width))
        fields.append(slice(first, first + width))
    return fields[0], fields[1]


def _upright(results: Path, variant: str, name: str, patient: str) -> sitk.Image:
    return sitk.DICOMOrient(read_image(results / "evaluate" / variant / name / f"{patient}.nii.gz"), "LPS")
