"""How good a registration is, measured without a reference, and whether that is good enough."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.config.register import RegisterConfig
from cpmn.register.prepare import Side, near_lungs
from cpmn.volume.transforms import (
    jacobian_determinant,
    load_inverse_transform,
    load_transform,
    read_warp,
    transform_points,
)

CORE_MM = 6.0  # our choice: deeper than this in the lungs only vessels tell; their surface matches in any two chests
VESSEL_SHARE = 0.05  # our choice: vessels fill 5-10 % of a lung; a share, not a HU, for contrast medium moves every HU
CHECKED_POINTS = 500  # lung voxels from which the way there and back is measured


def measure(fixed: Side, moving: Side, affine: Path, warp: Path, inverse_warp: Path) -> dict[str, float | None]:
    """Quality figures of the transform in the files.

    `lung_dice` is taken where the CTPA sees, `similarity` (Pearson correlation of the clipped intensities) in the core
    of the NCT's lungs there, `vessel_overlap` is the Dice of the brightest 5 % of that core in both; on working voxels,
    each beside its value for the affine part alone. `inverse_error_mm` is the mean distance of lung points after the
    transform and its inverse.
    `lung_coverage` is the share of the NCT's lungs that the CTPA sees. Jacobians are those of the whole transform, on
    every voxel of the warp. A figure that is not defined is None.
    """
    after = _compare(fixed, moving, load_transform(affine, warp))
    before = _compare(fixed, moving, load_transform(affine))
    jacobian = sitk.GetArrayFromImage(jacobian_determinant(affine, warp))
    field = read_warp(warp)  # ANTs writes it on the voxels of its last level
    length = np.linalg.norm(sitk.GetArrayViewFromImage(field), axis=-1)[_lungs_on(fixed, field)]
    return {
        **after,
        "lung_dice_affine": before["lung_dice"],
        "similarity_affine": before["similarity"],
        "vessel_overlap_affine": before["vessel_overlap"],
        "inverse_error_mm": inverse_error_mm(fixed, affine, warp, inverse_warp),
        "jacobian_min": float(jacobian.min()),
        "jacobian_max": float(jacobian.max()),
        "folding_fraction": float(np.mean(jacobian <= 0)),
        "warp_mean_mm": float(length.mean()),
        "warp_max_mm": float(length.max()),
    }


def verdict(figures: dict[str, Any], config: RegisterConfig) -> str:
    """Why the registration is not good enough, in words; empty if it is."""
    floors = {
        "lung_coverage": (config.minimum_lung_coverage, "the CTPA sees too little of the NCT's lungs"),
        "lung_dice": (config.minimum_lung_dice, "the lungs do not overlap enough"),
        "similarity": (config.minimum_similarity, "the inside of the lungs does not match"),
        "vessel_overlap": (config.minimum_vessel_overlap, "the vessels do not match"),
    }
    reasons = [
        f"{words}: {name} {_number(figures[name])}, limit {limit:g}"
        for name, (limit, words) in floors.items()
        if figures[name] is None or figures[name] < limit
    ]
    if figures["inverse_error_mm"] > config.maximum_inverse_error_mm:
        error = f"{figures['inverse_error_mm']:.2f}, limit {config.maximum_inverse_error_mm:g}"
        reasons.append(f"the inverse does not lead back: inverse_error_mm {error}")
    if figures["folding_fraction"] > config.maximum_folding_fraction:
        folding = f"{figures['folding_fraction']:.4f}, limit {config.maximum_folding_fraction:g}"
        reasons.append(f"the transform folds: folding_fraction {folding}")
    return "; ".join(reasons)


def inverse_error_mm(fixed: Side, affine: Path, warp: Path, inverse_warp: Path) -> float:
    """Mean distance in mm between lung points of the NCT and where the transform and its inverse lead them."""
    inside = np.argwhere(_lungs_on(fixed, fixed.working))[:, ::-1]
    chosen = inside[np.linspace(0, len(inside) - 1, CHECKED_POINTS).astype(int)]
    points = np.array([fixed.working.TransformIndexToPhysicalPoint(index) for index in chosen.tolist()])
    there = transform_points(load_transform(affine, warp), points)
    back = transform_points(load_inverse_transform(affine, inverse_warp), there)
    return float(np.linalg.norm(back - points, axis=1).mean())


def _compare(fixed: Side, moving: Side, transform: sitk.Transform) -> dict[str, float | None]:
    grid = fixed.working
    lungs = _lungs_on(fixed, grid)
    seen = _on_grid(moving.seen, grid, transform, sitk.sitkNearestNeighbor) > 0
    both = seen & (sitk.GetArrayViewFromImage(fixed.seen) > 0)  # beyond an NCT that cuts the lungs the CTPA may go on
    other = _on_grid(moving.lungs, grid, transform, sitk.sitkNearestNeighbor) > 0
    warped = _on_grid(moving.working, grid, transform, sitk.sitkLinear)
    core = seen & (sitk.GetArrayFromImage(near_lungs(fixed.lungs, grid, -CORE_MM)) > 0)
    return {
        "lung_dice": _dice(lungs & both, other & both),
        "similarity": _correlation(sitk.GetArrayViewFromImage(grid)[core], warped[core]),
        "vessel_overlap": _brightest_dice(sitk.GetArrayViewFromImage(grid)[core], warped[core]),
        "lung_coverage": float((lungs & seen).sum() / lungs.sum()),
    }


def _lungs_on(side: Side, grid: sitk.Image) -> np.ndarray:
    return _on_grid(side.lungs, grid, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor) > 0


def _on_grid(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform, interpolator: int) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, interpolator, 0))


def _dice(first: np.ndarray, second: np.ndarray) -> float | None:
    total = first.sum() + second.sum()
    return float(2 * np.sum(first & second) / total) if total else None


def _brightest_dice(first: np.ndarray, second: np.ndarray) -> float | None:
    count = round(VESSEL_SHARE * first.size)
    if count == 0:
        return None
    bright_first, bright_second = (np.argpartition(values, -count)[-count:] for values in (first, second))
    return float(np.intersect1d(bright_first, bright_second).size / count)


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
