"""Drawing solids on a voxel grid with exact partial volume.

Each voxel has a fixed lattice of sub-voxel samples, each with a tissue label. A solid whose surface is farther from a
voxel's centre than any of its samples decides the voxel as a whole; only where the surface passes are the samples
asked. Blocks of voxels are decided as a whole in the same way before their voxels are asked. Labels are therefore
those of drawing every sample, at a fraction of the work.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cpmn.phantom.materials import LABELS
from cpmn.phantom.motion import Motion
from cpmn.phantom.shapes import Shape

FAR_OUTSIDE_MM = 100.0  # bounds are cut this far outside the grid
GOLDEN_RATIO = 0.618034  # its multiples spread evenly, so that a sample's time does not follow from its place
BLOCK_MM = 6.0  # edges of a block of voxels, about; our choice by time
LARGE = 20_000  # voxels of a box from which on asking blocks first saves time; measured
SLACK_MM = 2.0  # added to boxes carried through the motion, whose curvature their corners do not show


@dataclass(frozen=True)
class Grid:
    """Axis-aligned voxel grid; everything (x, y, z), lengths in mm. `origin` is the centre of the first voxel."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]

    def axes(self) -> list[np.ndarray]:
        """Coordinates of the voxel centres along x, y and z."""
        return [o + s * np.arange(n) for o, s, n in zip(self.origin, self.spacing, self.size, strict=True)]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return float(np.prod(self.spacing)) / 1000


class Canvas:
    """Labels of every sub-voxel sample, (z, y, x, samples).

    Parameters
    ----------
    grid : where to draw.
    motion : the grid shows the anatomy through this motion (an NCT); None shows it as it is (a CTPA).
    subsample_mm : largest distance of the samples.
    sway : movement during the exposure, from end to end. The samples of a voxel are taken at different times, so what
        moves is blurred and labels stay exact; None holds still.
    """

    def __init__(self, grid: Grid, motion: Motion | None, subsample_mm: float, sway: Motion | None = None):
        self.grid, self.motion = grid, motion
        self.offsets = sample_offsets(grid.spacing, subsample_mm)
        x, y, z = (axis.astype(np.float32) for axis in grid.axes())
        x, y, z = x[None, None, :], y[None, :, None], z[:, None, None]
        self.centers = np.moveaxis(np.stack(np.broadcast_arrays(x, y, z)), 0, -1)
        self.frames = None
        self.sway = None if sway is None else sway.displacement(x, y, z)
        self.times = (np.arange(len(self.offsets), dtype=np.float32) * np.float32(GOLDEN_RATIO)) % 1 - np.float32(0.5)
        # How far (z, y, x) a sample can lie from its voxel's centre.
        reach = np.broadcast_to(np.linalg.norm(self.offsets, axis=1).max(), self.centers.shape[:3])
        if motion is not None:
            # Sub-voxel samples follow the motion's tangent at the voxel's centre: off by less than 0.01 mm at
            # the demo's spacing and 0.06 mm in voxels of 5 x 5 x 7 mm (measured).
            self.centers = self.centers + motion.displacement(x, y, z)
            self.frames = motion.jacobian(x, y, z)
            reach = reach * np.sqrt((self.frames**2).sum(axis=(-1, -2)))  # the Frobenius norm bounds the stretching
            self.sway = None if self.sway is None else np.einsum("...ij,...j->...i", self.frames, self.sway)
        if self.sway is not None:
            reach = reach + 0.5 * np.sqrt((self.sway**2).sum(axis=-1))
        self.reach = reach * np.float32(1.001) + np.float32(1e-3)
        self.block = tuple(max(1, round(BLOCK_MM / s)) for s in grid.spacing[::-1])
        self.block_centers, self.block_reach = self._blocks()
        self.labels = np.zeros((*self.centers.shape[:3], len(self.offsets)), np.uint8)

    def paint(self, parts: Sequence[tuple[int, Shape]], over: Collection[int] | None = None) -> None:
        """Draw (label, shape) pairs in order, each over the samples that have a label in `over` (None: over all)."""
        allowed = None
        if over is not None:
            allowed = np.zeros(LABELS, bool)
            allowed[list(over)] = True
        for (label, shape), box in zip(parts, self._boxes([shape for _, shape in parts]), strict=True):
            self._paint(label, shape, box, allowed)

    def _paint(self, label: int, shape: Shape, box: tuple[slice, ...], allowed: np.ndarray | None) -> None:
        labels = self.labels[box]
        if not labels.size:
            return
        inside, edge = self._decide(shape, box)
        if inside.any():
            if allowed is None:
                _as_items(labels)[inside] = _as_items(np.full(labels.shape[-1], label, np.uint8))
            else:
                labels[inside] = _recolored(labels[inside], np.True_, label, allowed)
        if edge.any():
            hit = shape.distance(self._samples(box, edge)) < 0
            labels[edge] = _recolored(labels[edge], hit, label, allowed)

    def _decide(self, shape: Shape, box: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Which voxels (z, y, x) of a box lie wholly inside a solid, and which its surface may cross."""
        centers, reach = self.centers[box], self.reach[box]
        if reach.size < LARGE:
            return _compared(shape.distance(centers), reach)
        blocks = tuple(slice(s.start // n, -(-s.stop // n)) for s, n in zip(box, self.block, strict=True))
        coarse = _compared(shape.distance(self.block_centers[blocks]), self.block_reach[blocks])
        inside, near = (self._spread(mask, box) for mask in coarse)
        edge = np.zeros_like(near)
        inside[near], edge[near] = _compared(shape.distance(centers[near]), reach[near])
        return inside, edge

    def _blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (z, y, x, 3) that stand for blocks of voxels, and how far (z, y, x) from them a sample can lie."""
        middles = [
            np.minimum(np.arange(0, size, n) + n // 2, size - 1)
            for size, n in zip(self.reach.shape, self.block, strict=True)
        ]
        centers = self.centers[np.ix_(*middles)]
        whole = tuple(slice(0, size) for size in self.reach.shape)
        away = self.centers - self._spread(centers, whole)
        reach = np.sqrt((away**2).sum(axis=-1)) * np.float32(1.001) + self.reach
        for axis, n in enumerate(self.block):
            reach = np.maximum.reduceat(reach, np.arange(0, reach.shape[axis], n), axis=axis)
        return centers, reach

    def _spread(self, blocks: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
        """Values (z, y, x, ...) per block that a box touches as values per voxel of the box."""
        for axis, n in enumerate(self.block):
            blocks = blocks.repeat(n, axis=axis)
        return blocks[
            tuple(slice(s.start % n, s.start % n + s.stop - s.start) for s, n in zip(box, self.block, strict=True))
        ]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean (z, y, x) over each voxel's samples of a value per label (LABELS,)."""
        count = self.labels.shape[-1]
        result = np.zeros(self.labels.shape[:3], np.float32)
        for sample in range(count):
            result += values.astype(np.float32)[self.labels[..., sample]]
        return result / count

    def fraction(self, label: int) -> np.ndarray:
        """Share (z, y, x) of each voxel that has the label."""
        return np.count_nonzero(self.labels == label, axis=-1).astype(np.float32) / self.labels.shape[-1]

    def fractions_above(self, label: int) -> dict[int, np.ndarray]:
        """Share (z, y, x) of each voxel for every label above the given one that was drawn, by label."""
        touched = np.nonzero(self.labels.max(axis=-1) > label)
        samples, result = self.labels[touched], {}
        for found in np.unique(samples[samples > label]):
            result[int(found)] = np.zeros(self.labels.shape[:3], np.float32)
            result[int(found)][touched] = (samples == found).mean(axis=-1)
        return result

    def shares(self, shapes: Sequence[Shape], label: int) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """For each solid the voxels (z, y, x) that it can reach and its share of each, where the label stands.

        Nothing is drawn.
        """
        for shape, box in zip(shapes, self._boxes(shapes), strict=True):
            share = np.zeros(self.labels[box].shape[:3], np.float32)
            there = (self.labels[box] == label).any(axis=-1)
            if there.any():
                hit = shape.distance(self._samples(box, there)) < 0
                share[there] = (hit & (self.labels[box][there] == label)).mean(axis=-1)
            yield box, share

    def compression(self) -> np.ndarray | float:
        """Volume of reference tissue per volume of voxel: the determinant of the motion's Jacobian (z, y, x), or 1."""
        if self.frames is None:
            return 1.0
        a, b, c = self.frames[..., 0, :], self.frames[..., 1, :], self.frames[..., 2, :]
        return np.einsum("...i,...i->...", a, np.cross(b, c))

    def _samples(self, box: tuple[slice, ...], chosen: np.ndarray) -> np.ndarray:
        centers = self.centers[box][chosen]
        frames = None if self.frames is None else self.frames[box][chosen]
        sway = None if self.sway is None else self.sway[box][chosen]
        result = np.empty((3, len(centers), len(self.offsets)), np.float32)
        for axis in range(3):  # stored by component, which shapes compute with faster
            steps = self.offsets[:, axis] if frames is None else frames[:, axis] @ self.offsets.T
            np.add(centers[:, axis, None], steps, out=result[axis])
            if sway is not None:
                result[axis] += sway[:, axis, None] * self.times
        return np.moveaxis(result, 0, -1)

    def _boxes(self, shapes: Sequence[Shape]) -> list[tuple[slice, ...]]:
        """Voxels (z, y, x) that each shape can reach."""
        if not shapes:
            return []
        limits = np.array([(axis[0] - FAR_OUTSIDE_MM, axis[-1] + FAR_OUTSIDE_MM) for axis in self.grid.axes()])
        bounds = np.clip([shape.bounds() for shape in shapes], limits[:, 0], limits[:, 1])
        low, high, margin = bounds[:, 0], bounds[:, 1], float(self.reach.max())
        if self.motion is not None:
            bits = np.array(list(np.ndindex(2, 2, 2)))
            corners = self.motion.to_nct(np.where(bits, high[:, None], low[:, None]), tolerance_mm=0.1)
            low, high, margin = corners.min(axis=1), corners.max(axis=1), margin + SLACK_MM
        first = np.floor((low - margin - self.grid.origin) / self.grid.spacing).astype(int)
        last = np.ceil((high + margin - self.grid.origin) / self.grid.spacing).astype(int) + 1
        first, last = np.clip(first, 0, self.grid.size), np.clip(last, 0, self.grid.size)
        return [
            tuple(slice(a, b) for a, b in zip(one[::-1], two[::-1], strict=True))
            for one, two in zip(first, last, strict=True)
        ]


def sample_offsets(spacing: tuple[float, float, float], subsample_mm: float) -> np.ndarray:
    """Offsets (samples, 3) in mm of a voxel's samples from its centre: cell centres of a regular subdivision."""
    axes = []
    for length in spacing:
        count = int(np.ceil(length / subsample_mm - 1e-9))
        axes.append(((np.arange(count) + 0.5) / count - 0.5) * length)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)


def _compared(distance: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a solid holds all within reach of a point, and where its surface may come within reach."""
    return distance < -reach, np.abs(distance) <= reach


def _as_items(samples: np.ndarray) -> np.ndarray:
    """A view of labels (..., samples) with the samples of a voxel as one item (...): filled ten times as fast."""
    return samples.view(f"V{samples.shape[-1]}")[..., 0]


def _recolored(labels: np.ndarray, hit: np.ndarray | np.bool_, label: int, allowed: np.ndarray | None) -> np.ndarray:
    return np.where(hit if allowed is None else hit & allowed[labels], np.uint8(label), labels)
