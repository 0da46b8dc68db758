"""Pairs of scans with the exact motion between them: phantom patients, and a real chest turned by a known transform."""

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from benchmarks.cases import REAL_DATA, SEED
from cpmn.anatomy.lungs import segment_lungs
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, build_anatomy
from cpmn.phantom.motion import Motion
from cpmn.phantom.scan import grid_image, scan_phase
from cpmn.volume.transforms import transform_points

LARGE_MM = 30.0  # inspiration to expiration moves the lungs 12-31 mm on average (domain facts)
FINE = (1.5, 1.5, 3.0)  # mm; the training benchmark's NCT voxels
POINTS = 3000
MOTION_STEP_MM = 4.0  # of the exact motion as a displacement field; its bells are 30 mm wide and more


@dataclass(frozen=True)
class Pair:
    """NCT and CTPA in HU, and the truth between them in mm (LPS)."""

    name: str
    nct: sitk.Image
    ctpa: sitk.Image
    motion: sitk.Transform
    """NCT points to CTPA points."""
    points: np.ndarray
    """NCT points (n, 3) all over the lungs."""
    vessel_points: np.ndarray
    """NCT points (n, 3) on the centre lines of vessels inside the lungs; none for real scans."""
    ctpa_clots: sitk.Image | None = None
    """Clot ids, uint8."""
    nct_clots: sitk.Image | None = None
    """Clot ids where the clots really are on the NCT, uint8."""


def phantom_pair(
    number: int, spacing: tuple[float, float, float] | None = None, largest_mm: float | None = None, seed: int = SEED
) -> Pair:
    """Phantom patient `number`; `spacing` of both phases in mm (x, y, z), the demo's if None.

    `largest_mm` scales the motion so that its largest displacement inside the lungs is this long.
    """
    changes = {"nct_spacing": spacing, "ctpa_spacing": spacing} if spacing else {}
    config = PhantomConfig.model_validate({"seed": seed, **changes})
    anatomy = build_anatomy(config, f"phantom-{number:03d}")
    if largest_mm:
        anatomy = replace(anatomy, motion=_scaled(anatomy.motion, largest_mm, _centre_lines(anatomy)))
    nct, ctpa = (scan_phase(config, anatomy, phase) for phase in ("nct", "ctpa"))
    images = [grid_image(scan.hu, scan.grid) for scan in (nct, ctpa)]
    return Pair(
        name=f"phantom-{number:03d}",
        nct=images[0],
        ctpa=images[1],
        motion=exact_transform(anatomy.motion, images[0]),
        points=lung_points(images[0]),
        vessel_points=anatomy.motion.to_nct(_centre_lines(anatomy)),
        ctpa_clots=grid_image(ctpa.clots, ctpa.grid),
        nct_clots=grid_image(nct.clots, nct.grid),
    )


def real_pair() -> Pair | None:
    """The turned real chest (ChestImagingPlatform), or None where the data is absent.

    The published file maps points of the turned scan to those of the original: its inverse leads from the original,
    which plays the NCT, to the turned one.
    """
    folder = REAL_DATA / "cip"
    if not folder.is_dir():
        return None
    nct, ctpa = (
        sitk.ReadImage(str(folder / f"{name}.nrrd"), sitk.sitkInt16) for name in ("ct-64", "ct-64-transformed")
    )
    motion = sitk.ReadTransform(str(folder / "TranslationRotation.tfm")).GetInverse()
    return Pair("cip", nct, ctpa, motion, lung_points(nct), np.zeros((0, 3)))


def lung_points(nct: sitk.Image) -> np.ndarray:
    """Random points (n, 3) of the lungs' voxels, in mm."""
    inside = np.argwhere(sitk.GetArrayFromImage(segment_lungs(nct)) > 0)[:, ::-1]
    chosen = inside[np.random.default_rng(0).choice(len(inside), min(POINTS, len(inside)), replace=False)]
    return np.array([nct.TransformIndexToPhysicalPoint(index) for index in chosen.tolist()])


def exact_transform(motion: Motion, nct: sitk.Image) -> sitk.Transform:
    """The phantom's motion as a displacement field on a coarse grid over `nct`."""
    size = [int(n * s / MOTION_STEP_MM) + 3 for n, s in zip(nct.GetSize(), nct.GetSpacing(), strict=True)]
    origin = np.array(nct.GetOrigin()) - MOTION_STEP_MM
    x, y, z = (start + MOTION_STEP_MM * np.arange(n) for start, n in zip(origin, size, strict=True))
    field = motion.displacement(x[None, None, :], y[None, :, None], z[:, None, None]).astype(np.float64)
    image = sitk.GetImageFromArray(field, isVector=True)
    image.SetSpacing((MOTION_STEP_MM,) * 3)
    image.SetOrigin(origin.tolist())
    return sitk.DisplacementFieldTransform(image)


def errors_mm(transform: sitk.Transform, pair: Pair, points: np.ndarray) -> np.ndarray:
    """Distance (n,) in mm between where `transform` and where the exact motion leads `points` (n, 3) of the NCT."""
    if not len(points):
        return np.zeros(0)
    return np.linalg.norm(transform_points(transform, points) - transform_points(pair.motion, points), axis=1)


def folding_fraction(transform: sitk.Transform, nct: sitk.Image) -> float:
    """Share of the body's and the lungs' voxels at which `transform` has a Jacobian determinant of 0 or less."""
    geometry = (nct.GetSize(), nct.GetOrigin(), nct.GetSpacing(), nct.GetDirection())
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, *geometry)
    jacobian = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    body = (sitk.GetArrayViewFromImage(nct) > -500) | (sitk.GetArrayFromImage(segment_lungs(nct)) > 0)
    return float(np.mean(jacobian[body] <= 0))


def _scaled(motion: Motion, largest_mm: float, points: np.ndarray) -> Motion:
    for _ in range(6):  # at NCT points, which depend on the motion itself
        inside = motion.to_nct(points)
        factor = largest_mm / np.linalg.norm(motion.to_ctpa(inside) - inside, axis=1).max()
        motion = Motion(tuple(replace(t, amplitude=tuple(factor * a for a in t.amplitude)) for t in motion.terms))
    return motion


def _centre_lines(anatomy: Anatomy) -> np.ndarray:
    """CTPA points (n, 3) on the centre lines of arteries and veins inside the lungs."""
    branches = [*anatomy.arteries.branches, *anatomy.veins.branches]
    points = np.concatenate([branch.points for branch in branches])
    return points[anatomy.lungs.distance(points.astype(np.float32)) < 0]
