"""How good a registration is, measured without a reference, and whether that is good enough."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.config.register import RegisterConfig
from cpmn.register.prepare import Side, near_lungs
from cpmn.transforms import jacobian_determinant, load_transform, read_warp

CORE_MM = 6.0  # our choice: deeper than this in the lungs only vessels tell; their surface matches in any two chests


def measure(fixed: Side, moving: Side, affine: Path, warp: Path) -> dict[str, float | None]:
    """Quality figures of the transform in the two files.

    `lung_dice` is taken where the CTPA sees, `similarity` (Pearson correlation of the clipped intensities) in the core
    of the NCT's lungs there, on working voxels; each stands beside its value for the affine part alone.
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
    }
    reasons = [
        f"{words}: {name} {_number(figures[name])}, limit {limit:g}"
        for name, (limit, words) in floors.items()
        if figures[name] is None or figures[name] < limit
    ]
    if figures["folding_fraction"] > config.maximum_folding_fraction:
        folding = f"{figures['folding_fraction']:.4f}, limit {config.maximum_folding_fraction:g}"
        reasons.append(f"the transform folds: folding_fraction {folding}")
    return "; ".join(reasons)


def _compare(fixed: Side, moving: Side, transform: sitk.Transform) -> dict[str, float | None]:
    grid = fixed.working
    lungs = _lungs_on(fixed, grid)
    seen = _on_grid(moving.seen, grid, transform, sitk.sitkNearestNeighbor) > 0
    other = _on_grid(moving.lungs, grid, transform, sitk.sitkNearestNeighbor) > 0
    warped = _on_grid(moving.working, grid, transform, sitk.sitkLinear)
    core = seen & (sitk.GetArrayFromImage(near_lungs(fixed.lungs, grid, -CORE_MM)) > 0)
    return {
        "lung_dice": _dice(lungs & seen, other & seen),
        "similarity": _correlation(sitk.GetArrayViewFromImage(grid)[core], warped[core]),
        "lung_coverage": float((lungs & seen).sum() / lungs.sum()),
    }


def _lungs_on(side: Side, grid: sitk.Image) -> np.ndarray:
    return _on_grid(side.lungs, grid, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor) > 0


def _on_grid(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform, interpolator: int) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, interpolator, 0))


def _dice(first: np.ndarray, second: np.ndarray) -> float | None:
    total = first.sum() + second.sum()
    return float(2 * np.sum(first & second) / total) if total else None


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
