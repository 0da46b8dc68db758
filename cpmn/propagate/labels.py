"""Resampling clot ids through a transform so that volumes are kept and small clots survive."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from cpmn.config.propagate import PropagateConfig
from cpmn.volume.images import image_like

SEARCH_MM = 6.0  # our choice: step of the search for a clot's place; a breathing motion is smooth on this scale
SLACK = 2.5  # our choice: steps added around that place, so that local stretching up to this factor does no harm
DENSITY = 2.0  # our choice: samples per source voxel and axis, so that a stretching motion skips no voxel
SLAB_SAMPLES = 2**24  # ours: so many at once, of a few bytes each, however large a clot's box is; but a slice at least


@dataclass(frozen=True)
class CarriedClot:
    """What became of one clot when it was carried to another grid."""

    label: int
    source_ml: float
    """Volume on the source grid."""
    mapped_ml: float
    """Volume after the transform, from the sub-voxel samples; differs from `source_ml` by the lung's own expansion."""
    written_ml: float
    """Volume of the voxels that carry the id; 0 if the clot lies outside the target's field of view."""


def propagate_labels(
    labels: sitk.Image, target: sitk.Image, transform: sitk.Transform, config: PropagateConfig
) -> tuple[sitk.Image, list[CarriedClot]]:
    """Clot ids on the grid of `target` (uint16), and what became of each clot.

    Every target voxel near a clot is sampled on a sub-grid at least as fine as the source voxels; each sample takes
    the nearest source label. A clot of mapped volume V gets the V / voxel volume voxels that it fills most, at least
    one; where clots meet the larger share wins. Keeping the volume is our choice: the usual rule "at least half full"
    took a fifth of the volume of phantom clots, which are thin, and all of some.

    Parameters
    ----------
    labels : clot ids on the source grid, integer.
    transform : target points to source points.
    """
    winner = np.zeros(target.GetSize()[::-1], np.uint16)
    best = np.zeros(winner.shape, np.float32)
    fractions = {}
    for label, box in clot_boxes(labels, target, transform):
        fraction = filled_fraction(labels, label, target, box, transform, config.supersampling)
        fractions[label] = (box, fraction)
        wins = fullest(fraction) & (fraction > best[box])
        best[box][wins], winner[box][wins] = fraction[wins], label
    for label, (box, fraction) in fractions.items():
        if not np.any(winner[box] == label):
            _keep_best_voxel(winner, label, box, fraction)
    return image_like(winner, target), _account(labels, target, winner, fractions)


def clot_boxes(
    labels: sitk.Image, target: sitk.Image, transform: sitk.Transform
) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Each id, and the box (slices z, y, x) of target voxels that surely holds it; an empty box if there is none.

    No inverse transform is needed: a coarse lattice of target points is mapped, and those that arrive near the clot
    are its neighbourhood.
    """
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(labels)
    step = np.maximum(1, np.round(SEARCH_MM / np.array(target.GetSpacing()))).astype(int)
    arrivals = _mapped_lattice(labels, target, transform, step)
    slack_voxels = SLACK * SEARCH_MM / np.array(labels.GetSpacing())
    for label in shape.GetLabels():
        start, size = np.reshape(shape.GetBoundingBox(label), (2, 3))
        near = np.all((arrivals > start - 1 - slack_voxels) & (arrivals < start + size + slack_voxels), axis=-1)
        yield label, _box_of(near, step, np.array(target.GetSize()))


def filled_fraction(
    labels: sitk.Image,
    label: int,
    target: sitk.Image,
    box: tuple[slice, ...],
    transform: sitk.Transform,
    supersampling: int,
) -> np.ndarray:
    """Share (0-1, float32, z y x) of each target voxel in `box` that clot `label` fills."""
    low = np.array([part.start for part in reversed(box)])
    size = np.array([part.stop - part.start for part in reversed(box)])
    if not size.all():
        return np.zeros(size[::-1], np.float32)
    finest = min(labels.GetSpacing()) / DENSITY
    samples = np.maximum(supersampling, np.ceil(np.array(target.GetSpacing()) / finest)).astype(int)
    fraction = np.empty(size[::-1], np.float32)
    rows = max(1, SLAB_SAMPLES // int(np.prod(samples) * size[0] * size[1]))
    for z in range(0, len(fraction), rows):
        slab = fraction[z : z + rows]
        hits = _sampled(labels, target, low + np.array([0, 0, z]), slab.shape, samples, transform) == label
        slab[:] = hits.mean(axis=(1, 3, 5), dtype=np.float32)
    return fraction


def _sampled(
    labels: sitk.Image,
    target: sitk.Image,
    low: np.ndarray,
    shape: tuple[int, ...],
    samples: np.ndarray,
    transform: sitk.Transform,
) -> np.ndarray:
    """Nearest source labels at `samples` (x, y, z) in each of `shape` (z, y, x) target voxels from `low` (x, y, z) on.

    The axes are z, samples along z, y, samples along y, x, samples along x.
    """
    first = low - 0.5 + 0.5 / samples  # centre of the first sample, as a continuous index of the target
    found = sitk.Resample(
        labels,
        (np.array(shape[::-1]) * samples).tolist(),
        transform,
        sitk.sitkNearestNeighbor,
        target.TransformContinuousIndexToPhysicalPoint(first.tolist()),
        (np.array(target.GetSpacing()) / samples).tolist(),
        target.GetDirection(),
    )
    return sitk.GetArrayFromImage(found).reshape([n for pair in zip(shape, samples[::-1], strict=True) for n in pair])


def fullest(fraction: np.ndarray) -> np.ndarray:
    """Mask of the voxels with the largest shares, as many as the shares add up to (at least one where any is)."""
    order = np.argsort(-fraction, axis=None, kind="stable")
    count = max(1, round(float(fraction.sum(dtype=np.float64)))) if fraction.any() else 0
    mask = np.zeros(fraction.shape, bool)
    mask.flat[order[:count]] = True
    return mask


def _keep_best_voxel(winner: np.ndarray, label: int, box: tuple[slice, ...], fraction: np.ndarray) -> None:
    """Give a clot its best voxel, but never another clot's only one."""
    counts = np.bincount(winner.ravel())
    inside = winner[box]
    for place in np.argsort(-fraction, axis=None, kind="stable"):
        voxel = np.unravel_index(place, fraction.shape)
        if fraction[voxel] == 0:
            return
        if inside[voxel] == 0 or counts[inside[voxel]] > 1:
            inside[voxel] = label
            return


def _mapped_lattice(labels: sitk.Image, target: sitk.Image, transform: sitk.Transform, step: np.ndarray) -> np.ndarray:
    """Source indices (x, y, z), shape (z, y, x, 3), at which every `step`-th target voxel arrives."""
    size = (-(-np.array(target.GetSize()) // step) + 1).tolist()
    spacing = (np.array(target.GetSpacing()) * step).tolist()
    geometry = (target.GetOrigin(), spacing, target.GetDirection())
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, size, *geometry)
    axes = np.reshape(target.GetDirection(), (3, 3)) * spacing
    lattice = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1).transpose(2, 1, 0, 3)
    points = lattice @ axes.T + target.GetOrigin() + sitk.GetArrayFromImage(field)
    source_axes = np.reshape(labels.GetDirection(), (3, 3)) * labels.GetSpacing()
    return (points - labels.GetOrigin()) @ np.linalg.inv(source_axes).T


def _box_of(near: np.ndarray, step: np.ndarray, size: np.ndarray) -> tuple[slice, ...]:
    places = np.argwhere(near)[:, ::-1]
    if not len(places):
        return (slice(0, 0),) * 3
    low = np.clip((places.min(axis=0) - 1) * step, 0, size)
    high = np.clip((places.max(axis=0) + 1) * step + 1, 0, size)
    return tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1], strict=True))


def _account(labels: sitk.Image, target: sitk.Image, winner: np.ndarray, fractions: dict) -> list[CarriedClot]:
    source_voxel, target_voxel = (float(np.prod(image.GetSpacing())) / 1000 for image in (labels, target))
    source_counts = np.bincount(sitk.GetArrayViewFromImage(labels).ravel())
    written_counts = np.bincount(winner.ravel(), minlength=len(source_counts))
    return [
        CarriedClot(
            label=int(label),
            source_ml=float(source_counts[label] * source_voxel),
            mapped_ml=float(fraction.sum(dtype=np.float64) * target_voxel),
            written_ml=float(written_counts[label] * target_voxel),
        )
        for label, (_, fraction) in fractions.items()
    ]
