"""Masks: distances and filled holes, by packages that the project does not depend on (`pip install -e .[bench]`)."""

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.libraries.trial import Trial

SHAPE, SPACING = (150, 170, 170), (2.0, 2.0, 2.0)  # z, y, x; mm: a chest where the lungs are segmented


def trials() -> Iterator[Trial]:
    import edt  # pyright: ignore
    import fill_voids  # pyright: ignore

    lungs = _lungs()
    yield Trial(
        "distance to the lungs",
        "edt",
        "edt",
        lambda: np.asarray(ndimage.distance_transform_edt(~lungs, sampling=SPACING[::-1])),
        lambda: edt.edt(~lungs, anisotropy=SPACING[::-1], parallel=1),
        taken=False,
        why="0.4 s a patient is not worth a package",
        difference=lambda one, other: float(np.abs(one - other).max()),
        unit="mm",
    )
    yield Trial(
        "holes of a mask filled",
        "fill-voids",
        "fill_voids",
        lambda: sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(lungs.astype(np.uint8)))) > 0,
        lambda: fill_voids.fill(lungs),
        taken=False,
        why="0.1 s a lung is not worth a package",
        difference=lambda one, other: float((one != other).sum()),
        unit="voxels",
    )


def _lungs() -> np.ndarray:
    """Two ellipsoids with vessels as holes."""
    z, y, x = (np.arange(n)[axis] for n, axis in zip(SHAPE, np.ix_(*map(range, SHAPE)), strict=True))
    sides = [((z - 75) / 60) ** 2 + ((y - 85) / 60) ** 2 + ((x - at) / 34) ** 2 < 1 for at in (45, 125)]
    holes = np.random.default_rng(0).random(SHAPE) < 0.002
    return (sides[0] | sides[1]) & np.logical_not(ndimage.binary_dilation(holes))
