"""A small pair of chests: ellipsoid lungs with vessel-like tubes, and a known motion between the phases."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.volume.images import write_image
from cpmn.volume.transforms import transform_points

SHIFT_MM = (4.0, -6.0, 60.0)  # the scans' frames of reference differ
HALF_MM = (165, 111, 138)
STEP_MM = 3.0


class ChestPair(NamedTuple):
    nct: Path
    ctpa: Path
    stranger: Path
    """CTPA of another patient with the same lungs."""
    motion: sitk.Transform
    """Truth: NCT points to CTPA points."""
    lung_points: np.ndarray
    """NCT points (n, 3) inside the lungs."""


@pytest.fixture(scope="session")
def chest_pair(tmp_path_factory) -> ChestPair:
    folder = tmp_path_factory.mktemp("chest")
    motion = breathing()
    ctpa_grid = grid((108, 74, 88), (3.0, 3.0, 3.0), (-160.0, -110.0, -130.0))
    nct_grid = grid((96, 66, 66), (3.4, 3.4, 4.0), np.subtract((-163.0, -112.0, -132.0), SHIFT_MM))
    scan(render(350.0), ctpa_grid, sitk.Transform(3, sitk.sitkIdentity), 1, folder / "ctpa.nii.gz")
    scan(render(50.0), nct_grid, motion, 2, folder / "nct.nii.gz")
    scan(render(350.0, 8), ctpa_grid, sitk.Transform(3, sitk.sitkIdentity), 3, folder / "stranger.nii.gz")
    points = np.random.default_rng(0).uniform((-115, -60, -60), (115, 60, 90), (3000, 3))
    inside = lung_mask(*transform_points(motion, points - SHIFT_MM).T)
    nct, ctpa, stranger = (folder / f"{name}.nii.gz" for name in ("nct", "ctpa", "stranger"))
    return ChestPair(nct, ctpa, stranger, motion, (points - SHIFT_MM)[inside])


def grid(size, spacing, origin) -> sitk.Image:
    image = sitk.Image([int(n) for n in size], sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetOrigin([float(o) for o in origin])
    return image


def render(vessel_hu: float, patient: int = 3) -> sitk.Image:
    """Chest in HU (float32) on a 3 mm grid centred on zero; patients differ by their vessels."""
    x_axis, y_axis, z_axis = (np.arange(-half, half + 1, STEP_MM) for half in HALF_MM)
    z, y, x = np.meshgrid(z_axis, y_axis, x_axis, indexing="ij")
    hu = np.where((x / 160) ** 2 + (y / 108) ** 2 < 1, 40.0, -1000.0)
    lung = lung_mask(x, y, z)
    points = np.stack([x, y, z], axis=-1)[lung].astype(np.float32)
    vessel = np.zeros(len(points), bool)
    for start, end, radius in tubes(patient):
        vessel |= distance_to_segment(points, start, end) < radius
    hu[lung] = np.where(vessel, vessel_hu, -860)
    hu[heart_mask(x, y, z)] = vessel_hu
    image = sitk.GetImageFromArray(hu.astype(np.float32))
    image.SetSpacing((STEP_MM,) * 3)
    image.SetOrigin([-float(half) for half in HALF_MM])
    return sitk.SmoothingRecursiveGaussian(image, [1.5] * 3)


def lung_mask(x, y, z) -> np.ndarray:
    side = np.abs(x) - 72
    ellipsoids = (side / 56) ** 2 + (y / 78) ** 2 + (z / 115) ** 2 < 1
    return ellipsoids & (z > -60 - 0.01 * (side**2 + y**2)) & ~heart_mask(x, y, z)


def heart_mask(x, y, z) -> np.ndarray:
    return ((x - 20) / 50) ** 2 + ((y + 20) / 45) ** 2 + ((z + 20) / 50) ** 2 < 1


def tubes(patient: int) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Vessels from each hilum outwards, different on the two sides."""
    generator = np.random.default_rng(patient)
    found = []
    for hilum in (np.array([-30.0, 0, 10]), np.array([30.0, 5, 20])):
        for _ in range(14):
            direction = generator.normal(size=3) * (0.8, 0.9, 1.0) + (np.sign(hilum[0]), 0, 0)
            middle = hilum + direction / np.linalg.norm(direction) * 45
            found.append((hilum, middle, 5.0))
            for _ in range(2):
                found.append((middle, middle + generator.normal(size=3) * 25, 3.5))
    return found


def distance_to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    along = np.clip((points - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)
    return np.linalg.norm(points - (start + along[..., None] * (end - start)), axis=-1)


def breathing() -> sitk.Transform:
    """Shift, and a smooth motion of up to 16 mm that grows towards the diaphragm."""
    axis = np.arange(-250, 251, 10.0)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    low = np.exp(-((x / 140) ** 4) - (y / 110) ** 4) / (1 + np.exp((z + SHIFT_MM[2] + 20) / 25))
    parts = [SHIFT_MM[0] + 0 * x, SHIFT_MM[1] - 4 * low, SHIFT_MM[2] + 16 * low]
    field = sitk.GetImageFromArray(np.stack(parts, axis=-1), isVector=True)
    field.SetSpacing((10.0,) * 3)
    field.SetOrigin((-250.0,) * 3)
    return sitk.DisplacementFieldTransform(field)


def scan(anatomy: sitk.Image, onto: sitk.Image, motion: sitk.Transform, seed: int, path: Path) -> None:
    """Write int16 HU with smoothed noise of about 12 HU."""
    noise = np.random.default_rng(seed).normal(0, 12, onto.GetSize()[::-1])
    hu = sitk.GetArrayFromImage(sitk.Resample(anatomy, onto, motion, sitk.sitkLinear, -1000.0)) + noise
    image = sitk.GetImageFromArray(np.clip(np.round(hu), -1024, 3000).astype(np.int16))
    image.CopyInformation(onto)
    write_image(image, path)
