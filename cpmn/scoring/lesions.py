"""Matching predicted components to clots.

There are two rules, both against the clot ids of the reference as they are:

- overlap of voxels: a component hits the clots that it touches;
- the CAD-PE challenge's (Gonzalez 2020): a component is a *mark*, one point with a confidence, and hits every clot
  within epsilon mm. Clots are never re-labelled after a dilation, as some ports of the rule do: touching dilations
  would merge clots and shrink the denominator.

Masks are arrays (z, y, x); spacings and points are (x, y, z) in mm, points relative to the centre of voxel 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from scipy.spatial import KDTree

CONNECTIVITY = 26
"""Voxels that share a corner belong to one component (our choice: thin clots run obliquely)."""


@dataclass(frozen=True)
class Lesions:
    """What is needed to match m predicted components and c clots of one patient by any rule."""

    clot_ids: np.ndarray
    """(c,) ids in the reference."""
    clot_voxels: np.ndarray
    """(c,) voxel counts of the clots."""
    component_voxels: np.ndarray
    """(m,) voxel counts of the components."""
    confidence: np.ndarray
    """(m,) expected mL of clot in the components: mean probability x volume, the volume without a probability map.

    Our choice: ranked by mean probability alone, specks of a few sure voxels come before clots. In 60 phantom patients
    of `learnable` 0.23 of the clots were found so at one false mark per normal, and 0.42 by expected mL.
    """
    points_mm: np.ndarray
    """(m, 3) marks: the component's voxel nearest to its centroid."""
    overlap: np.ndarray
    """(m, c) voxels shared."""
    distance_mm: np.ndarray
    """(m, c) distance from a mark to the nearest voxel centre of a clot."""


def components(mask: np.ndarray, spacing: tuple[float, ...], minimum_mm3: float = 0.0) -> np.ndarray:
    """Connected components of a mask, numbered from 1, those smaller than `minimum_mm3` dropped."""
    labels = cc3d.connected_components((mask != 0).astype(np.uint8), connectivity=CONNECTIVITY)
    smallest = minimum_mm3 / float(np.prod(spacing))
    keep = np.bincount(labels.ravel()) >= smallest
    keep[0] = False
    renumbered = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return renumbered[labels]


def match_lesions(
    labels: np.ndarray, clots: np.ndarray, spacing: tuple[float, ...], probability: np.ndarray | None = None
) -> Lesions:
    """Tabulate the components of `components` against the clots of the reference (values are ids, 0 background)."""
    parts, wholes = _points_by_id(labels, spacing), _points_by_id(clots, spacing)
    numbers, ids = np.array(list(parts), dtype=int), np.array(list(wholes), dtype=int)
    marks = np.array([_mark(points) for points in parts.values()]).reshape(-1, 3)
    distance = np.zeros((len(numbers), len(ids)))
    for column, points in enumerate(wholes.values()):
        if len(numbers):
            distance[:, column] = KDTree(points).query(marks)[0]
    return Lesions(
        clot_ids=ids,
        clot_voxels=np.array([len(points) for points in wholes.values()], dtype=int),
        component_voxels=np.array([len(points) for points in parts.values()], dtype=int),
        confidence=_expected_ml(labels, numbers, spacing, probability),
        points_mm=marks,
        overlap=_shared_voxels(labels, clots, numbers, ids),
        distance_mm=distance,
    )


def overlap_match(lesions: Lesions, fraction: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Clots found (c,) and components that are false (m,), by shared voxels.

    A clot is found when the components cover at least `fraction` of it, and a component is true when at least
    `fraction` of it lies on clots; in both at least one voxel.
    """
    on_clot, on_component = lesions.overlap.sum(axis=0), lesions.overlap.sum(axis=1)
    found = on_clot >= np.maximum(1, fraction * lesions.clot_voxels)
    false = on_component < np.maximum(1, fraction * lesions.component_voxels)
    return np.asarray(found), np.asarray(false)


def mark_match(lesions: Lesions, epsilon_mm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Clots hit (c,) and false marks (m,) by the CAD-PE rule: distance <= epsilon; a clot hit twice counts once."""
    near = lesions.distance_mm <= epsilon_mm + 1e-6
    return np.any(near, axis=0), np.all(~near, axis=1)


def froc(
    patients: Sequence[Lesions], rates: Sequence[float] = (0.5, 1, 2, 4, 8), epsilon_mm: float = 0.0
) -> dict[float, float | None]:
    """Share of all clots hit at no more than each rate of false marks per scan, as the confidence limit is lowered.

    None where there is no clot. Scans without clots count in the rate of false marks.
    """
    total = sum(len(lesions.clot_ids) for lesions in patients)
    if not total:
        return dict.fromkeys(rates)
    best, false = _first_hits(patients, epsilon_mm)
    limits = np.unique(np.concatenate([best, false]))
    false_rates, hits = _at_least(false, limits) / len(patients), _at_least(best, limits) / total
    return {rate: float(hits[false_rates <= rate].max(initial=0.0)) for rate in rates}


def _at_least(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """How many of the values reach each limit."""
    return len(values) - np.searchsorted(np.sort(values), limits, side="left")


def _first_hits(patients: Sequence[Lesions], epsilon_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Highest confidence of a mark on each clot that is hit, and the confidences of all false marks."""
    best, false = [], []
    for lesions in patients:
        near = lesions.distance_mm <= epsilon_mm + 1e-6
        best += [lesions.confidence[column].max() for column in near.T if column.any()]
        false += list(lesions.confidence[~near.any(axis=1)])
    return np.array(best, dtype=float), np.array(false, dtype=float)


def _points_by_id(array: np.ndarray, spacing: tuple[float, ...]) -> dict[int, np.ndarray]:
    """Voxel centres (n, 3) of every id but 0, ids ascending."""
    where = np.nonzero(array)
    values, points = array[where], np.stack(where[::-1], axis=1) * np.asarray(spacing)
    order = np.argsort(values, kind="stable")
    ids, starts = np.unique(values[order], return_index=True)
    groups = np.split(points[order], starts[1:])
    return {int(i): group for i, group in zip(ids, groups, strict=False)}


def _mark(points: np.ndarray) -> np.ndarray:
    return points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]


def _expected_ml(
    labels: np.ndarray, numbers: np.ndarray, spacing: tuple[float, ...], probability: np.ndarray | None
) -> np.ndarray:
    inside = labels != 0
    weights = None if probability is None else probability[inside]
    total = np.bincount(labels[inside], weights, minlength=1)
    return np.asarray(total[numbers] * float(np.prod(spacing)) / 1000)


def _shared_voxels(labels: np.ndarray, clots: np.ndarray, numbers: np.ndarray, ids: np.ndarray) -> np.ndarray:
    table = np.zeros((len(numbers), len(ids)), dtype=int)
    both = (labels != 0) & (clots != 0)
    np.add.at(table, (labels[both] - 1, np.searchsorted(ids, clots[both])), 1)
    return table
