"""A phantom patient in both phases whose lungs and arteries are known."""

from dataclasses import dataclass

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, build_anatomy
from cpmn.phantom.scan import Phase, grid_image, scan_phase

HILA = {"trunk", "main"}


@dataclass(frozen=True)
class Phantom:
    """Scan (HU), true lungs (z, y, x, with the vessels inside) and points (n, 3) of trunk and hila in mm, LPS."""

    image: sitk.Image
    lungs: np.ndarray
    center: np.ndarray


def _true_lungs(anatomy: Anatomy, image: sitk.Image, phase: Phase) -> np.ndarray:
    axes = [
        (np.arange(n) * s + o).astype(np.float32)
        for n, s, o in zip(image.GetSize(), image.GetSpacing(), image.GetOrigin(), strict=True)
    ]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    if phase == "nct":
        points = anatomy.motion.to_ctpa(points)
    return (anatomy.lungs.distance(points.astype(np.float32)) < 0).reshape(image.GetSize()[::-1])


@pytest.fixture(scope="session")
def phantoms() -> dict[str, Phantom]:
    """The same patient as NCT and as CTPA."""
    config = PhantomConfig(nct_spacing=(2.6, 2.6, 3.5), ctpa_spacing=(2.6, 2.6, 3.5), subsample_mm=2.0)
    anatomy = build_anatomy(config, "phantom-001")
    central = [branch for branch in anatomy.arteries.branches if branch.level in HILA]
    points = np.concatenate([branch.points for branch in central])
    found = {}
    phases: tuple[Phase, ...] = ("nct", "ctpa")
    for phase in phases:
        scan = scan_phase(config, anatomy, phase)
        image = grid_image(scan.hu, scan.grid)
        places = np.array([anatomy.motion.to_nct(point) for point in points]) if phase == "nct" else points
        found[phase] = Phantom(image, _true_lungs(anatomy, image, phase), places)
    return found
