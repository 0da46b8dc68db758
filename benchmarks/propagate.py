"""Carrying clots from the CTPA's to the NCT's voxels: four ways of resampling under exact and estimated motions.

The truth is where the phantom's clots really are on the NCT. `volume_ratio` compares the total written volume with what
the CTPA's mask holds after the motion (finely sampled): the phantom's masks keep voxels at least half full, which thin
clots lose volume by on either grid, whatever carries them. Dice, survival and centroid error are means over clots.
"""

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import SimpleITK as sitk

from benchmarks.cases import SEED
from benchmarks.pairs import Pair, phantom_pair
from benchmarks.peers import Register, ants_default
from benchmarks.register import ours
from cpmn.cohort.phantom import phantom_label
from cpmn.config.propagate import PropagateConfig
from cpmn.errors import CpmnError
from cpmn.propagate.labels import propagate_labels
from cpmn.register.ants_engine import load_ants
from cpmn.scoring.overlap import dice
from cpmn.volume.images import image_like, voxel_ml

PATIENTS = 10  # of whom half have emboli
SPACINGS = {"demo": None, "fine": (1.5, 1.5, 3.0)}
SIZES_MM3 = {"below 20": (0, 20), "20 to 100": (20, 100), "100 to 500": (100, 500), "from 500": (500, np.inf)}
EXACT = "exact"
Carry = Callable[[sitk.Image, sitk.Image, sitk.Transform], sitk.Image]


def nearest(labels: sitk.Image, target: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """The usual way: each voxel takes the label at its centre."""
    return sitk.Resample(labels, target, transform, sitk.sitkNearestNeighbor, 0)


def generic_label(labels: sitk.Image, target: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """antsApplyTransforms with `genericLabel`: each label smoothed, the largest wins."""
    import ants

    geometry = (target.GetSize(), target.GetOrigin(), target.GetSpacing(), target.GetDirection())
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, *geometry)
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(sitk.Cast(field, sitk.sitkVectorFloat32), f"{folder}/warp.nii.gz")
        scans = ants.from_sitk(sitk.Cast(target, sitk.sitkFloat32)), ants.from_sitk(sitk.Cast(labels, sitk.sitkFloat32))
        carried: Any = ants.apply_transforms(*scans, [f"{folder}/warp.nii.gz"], interpolator="genericLabel")
    return image_like(carried.numpy().round().astype(np.uint16).transpose(2, 1, 0), target)


def half_probability(labels: sitk.Image, target: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """Each clot's mask interpolated linearly; voxels of at least one half belong to it."""
    result = np.zeros(target.GetSize()[::-1], np.uint16)
    for label in np.unique(sitk.GetArrayViewFromImage(labels))[1:].tolist():
        mask = sitk.Cast(labels == label, sitk.sitkFloat32)
        share = sitk.GetArrayFromImage(sitk.Resample(mask, target, transform, sitk.sitkLinear, 0.0))
        result[(share >= 0.5) & (result == 0)] = label
    return image_like(result, target)


OURS = "cpmn"
WAYS: dict[str, Carry] = {
    "nearest neighbour": nearest,
    "genericLabel": generic_label,
    "probability 0.5": half_probability,
}
ESTIMATED_ON = ("demo",)  # voxel sizes at which motions are estimated too; each default SyN takes minutes when fine
MOTIONS: dict[str, Register | None] = {
    EXACT: None,
    "cpmn, greedy": ours(engine="greedy"),
    "cpmn, ants": ours(),
    "ANTsPy SyN": ants_default("SyN"),
}


def measure() -> Iterator[dict]:
    """One row per voxel size, motion, way and clot size; `all` are the clots of at least 20 mm3 together."""
    load_ants(threads=1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for name, spacing in SPACINGS.items():
        yield from _rows(name, spacing)


def _rows(name: str, spacing: tuple[float, float, float] | None) -> Iterator[dict]:
    pairs = [phantom_pair(n, spacing) for n in range(1, PATIENTS + 1) if phantom_label(SEED, n - 1)]
    exact: dict[str, list[dict]] = {}
    for motion, register in (MOTIONS if name in ESTIMATED_ON else {EXACT: None}).items():
        try:
            transforms = [register(pair.nct, pair.ctpa) if register else pair.motion for pair in pairs]
        except (ImportError, CpmnError) as error:
            print(f"{motion} is skipped: {error}")
            continue
        by_way: dict[str, list[dict]] = {}
        for pair, transform in zip(pairs, transforms, strict=True):
            for way, clots in per_clot(pair, transform).items():
                by_way.setdefault(way, []).extend(clots)
        for way, found in by_way.items():
            for row in _by_size(found, exact.setdefault(way, found)):
                yield {"voxels": name, "motion": motion, "way": way, "patients": len(pairs), **row}


def _by_size(found: list[dict], exact: list[dict]) -> Iterator[dict]:
    for size, (low, high) in {"all": (20, np.inf), **SIZES_MM3}.items():
        chosen = [i for i, clot in enumerate(exact) if low <= clot["mm3"] < high]
        if chosen:
            yield {"clot_mm3": size, **_summary([found[i] for i in chosen], [exact[i] for i in chosen])}


def per_clot(pair: Pair, transform: sitk.Transform) -> dict[str, list[dict]]:
    """What became of every clot of the pair by each way of carrying, in the order of their ids."""
    if pair.ctpa_clots is None or pair.nct_clots is None:
        raise ValueError("the pair has no clots")
    ours, accounts = propagate_labels(pair.ctpa_clots, pair.nct, transform, PropagateConfig())
    images = {way: carry(pair.ctpa_clots, pair.nct, transform) for way, carry in WAYS.items()} | {OURS: ours}
    truth = sitk.GetArrayFromImage(pair.nct_clots)
    found: dict[str, list[dict]] = {}
    for way, image in images.items():
        carried = sitk.GetArrayFromImage(image)
        found[way] = [
            {
                "mm3": 1000 * account.source_ml,
                "mapped_ml": account.mapped_ml,
                "written_ml": float((carried == account.label).sum()) * voxel_ml(pair.nct),
                "dice": dice(carried == account.label, truth == account.label),
                "centroid_mm": _centroid_distance(carried == account.label, truth == account.label, pair.nct),
            }
            for account in accounts
        ]
    return found


def _centroid_distance(first: np.ndarray, second: np.ndarray, image: sitk.Image) -> float:
    if not first.any() or not second.any():
        return np.nan
    shift = np.argwhere(first).mean(axis=0) - np.argwhere(second).mean(axis=0)
    return float(np.linalg.norm(shift[::-1] * image.GetSpacing()))


def _summary(found: list[dict], exact: list[dict]) -> dict:
    dice, best = (np.array([clot["dice"] for clot in clots]) for clots in (found, exact))
    written, mapped = (sum(clot[key] for clot in found) for key in ("written_ml", "mapped_ml"))
    return {
        "clots": len(found),
        "survived": sum(clot["written_ml"] > 0 for clot in found),
        "volume_ratio": round(written / mapped, 3) if mapped else np.nan,
        "centroid_mm": round(float(np.nanmean([clot["centroid_mm"] for clot in found])), 2),
        "dice": round(float(dice.mean()), 3),
        "dice_sd": round(float(dice.std()), 3),
        "share_of_exact": round(float(dice.mean() / best.mean()), 3) if best.mean() else np.nan,
    }
