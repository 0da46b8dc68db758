"""How often the checks of a mask see that it is wrong, and how often they err: `python -m benchmarks masks`.

Each phantom patient's masks are asked as they are, mirrored, moved, on another patient, and in place of them masks of
organs. Beside the outcome stands what no check asks: how much of a mask lies in opacified arteries.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, cast

import numpy as np
import pandas as pd
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.cases import phantom_patients
from cpmn.checks.finding import Finding
from cpmn.checks.mask import FEWEST_VOXELS, LOOK_MM, OPACIFIED_HU, TISSUE_HU, check_mask
from cpmn.volume.images import image_like

PATIENTS = 15  # with emboli, of each difficulty
MOVED_MM = (5.0, 10.0, 30.0)
WORST = ("refused", "warned", "passed")
LUNG_HU = -500.0
DILATED_MM, CLOSED_MM = 4.0, 8.0
ABOUT_MM = 15.0
IN_ARTERIES = (f"dilated by {DILATED_MM:g} mm", f"closed by {CLOSED_MM:g} mm")
QUANTILES = (0.0, 0.05, 0.5, 0.95)


def measure() -> Iterator[dict[str, Any]]:
    """One row per phase and kind of mask: how many, shares of each outcome (the worst of a mask's checks).

    On CTPA also quantiles of the masks' shares in opacified blood and bone, dilated and closed.
    """
    before: dict[str, np.ndarray] = {}
    rows = []
    for scans in phantom_patients(PATIENTS, with_pe=True):
        for phase, (scan, clots) in scans.items():
            places = np.argwhere(sitk.GetArrayViewFromImage(clots) > 0)
            rows += _masks(phase, scan, places, before.get(phase))
            before[phase] = places
    for name, group in pd.DataFrame(rows).groupby(["phase", "mask"], sort=False):
        outcomes = {outcome: round(float((group.outcome == outcome).mean()), 3) for outcome in WORST}
        shares = {
            f"{part}, {q:.0%}": round(float(group[part].quantile(q)), 2) for part in IN_ARTERIES for q in QUANTILES
        }
        phase, mask = cast(tuple[str, str], name)
        yield {"phase": phase, "mask": mask, "masks": len(group), **outcomes, **shares}


def _masks(phase: str, scan: sitk.Image, places: np.ndarray, other: np.ndarray | None) -> Iterator[dict[str, Any]]:
    hu = sitk.GetArrayViewFromImage(scan)
    arteries = _arteries(scan) if phase == "ctpa" else {}
    kinds = {
        "both lungs": np.argwhere(hu < LUNG_HU),
        "all tissue": np.argwhere((hu > TISSUE_HU[0]) & (hu < TISSUE_HU[1])),
    }
    if phase == "ctpa":
        to_clots = ndimage.distance_transform_edt(~_at(places, hu.shape), sampling=scan.GetSpacing()[::-1])
        kinds["arteries about the clots"] = np.argwhere((hu > OPACIFIED_HU) & (np.asarray(to_clots) < ABOUT_MM))
    if other is not None:
        kinds["of another patient"] = other
    for kind, wrong in [*_wrong(places, hu.shape, scan.GetSpacing()[::-1]), *kinds.items()]:
        inside = wrong[((wrong >= 0) & (wrong < hu.shape)).all(axis=1)]
        if len(inside) >= FEWEST_VOXELS:
            labels = image_like(_at(inside, hu.shape).astype(np.uint8), scan)
            outcome = _worst(check_mask(labels, scan, phase))
            shares = {name: float(part[tuple(inside.T)].mean()) for name, part in arteries.items()}
            yield {"phase": phase, "mask": kind, "outcome": outcome, **dict.fromkeys(IN_ARTERIES, np.nan), **shares}


def _at(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(places.T)] = True
    return mask


def _worst(findings: list[Finding]) -> str:
    return min((finding.outcome for finding in findings), key=WORST.index)


def _wrong(places: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Voxels (n, 3: z, y, x) as they are, mirrored in each way, and moved to either side."""
    yield "as it is", places
    for mirror in product((False, True), repeat=3):
        if any(mirror):
            yield "mirrored", np.where(mirror, np.array(shape) - 1 - places, places)
    for mm, axis, sign in product(MOVED_MM, range(3), (1, -1)):
        step = sign * max(1, round(mm / spacing[axis]))
        yield f"moved by {mm:g} mm", places + step * np.eye(3, dtype=int)[axis]
    for step in (1, -1):
        yield "moved by one slice", np.add(places, [step, 0, 0])


def _arteries(scan: sitk.Image) -> dict[str, np.ndarray]:
    """Opacified blood and bone, on the scan's grid: dilated, and closed so that a clot in contrast is inside."""
    spacing = scan.GetSpacing()[::-1]
    smooth = sitk.SmoothingRecursiveGaussian(sitk.Clamp(scan, sitk.sitkFloat32, -1000, 1000), [LOOK_MM / 2] * 3)
    distance = ndimage.distance_transform_edt(sitk.GetArrayViewFromImage(smooth) < OPACIFIED_HU, sampling=spacing)
    depth = ndimage.distance_transform_edt(np.asarray(distance) <= CLOSED_MM, sampling=spacing)
    return dict(zip(IN_ARTERIES, (np.asarray(distance) <= DILATED_MM, np.asarray(depth) > CLOSED_MM), strict=True))
