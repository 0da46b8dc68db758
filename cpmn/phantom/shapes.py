"""Solids given by a bound on the signed distance to their surface.

`distance(points)` takes points (..., 3) in mm, ordered (x, y, z), and returns (...): negative inside, positive
outside, and its magnitude never exceeds the true distance (the function is 1-Lipschitz). The sign makes rendering
exact; the bound lets whole voxels be decided from their centre. Ellipsoid bounds and the smooth minimum follow
Inigo Quilez, "Distance functions" (https://iquilezles.org/articles/distfunctions, /smin).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

FAR_MM = 1e4


class Shape(Protocol):
    """A solid in the reference space."""

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance bound (...) in mm of points (..., 3)."""
        ...

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (x, y, z) in mm of a box that holds the solid."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid, or with `power` > 2 a solid whose axial sections are superellipses (boxier, like a chest).

    `rotation` (3, 3) holds the axes as rows; None is axis-aligned.
    """

    center: np.ndarray
    radii: np.ndarray
    power: float = 2.0
    rotation: np.ndarray | None = None

    def distance(self, points: np.ndarray) -> np.ndarray:
        x, y, z = _local(points, self.center, self.rotation)
        x, y, z = (np.abs(c / np.float32(r)) for c, r in zip((x, y, z), self.radii, strict=True))
        if self.power == 2.0:
            norm = np.sqrt(x * x + y * y + z * z)
        else:
            axial = (x**self.power + y**self.power) ** (1 / self.power)
            norm = np.sqrt(axial * axial + z * z)
        return (norm - 1) * np.float32(self.radii.min())

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        reach = self.radii if self.rotation is None else np.full(3, self.radii.max())
        return self.center - reach, self.center + reach


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` of the segment from `start` to `end`."""

    start: np.ndarray
    end: np.ndarray
    radius: float

    def distance(self, points: np.ndarray) -> np.ndarray:
        axis = (self.end - self.start).astype(np.float32)
        x, y, z = _local(points, self.start)
        along = (x * axis[0] + y * axis[1] + z * axis[2]) * np.float32(1 / max(float(axis @ axis), 1e-6))
        np.clip(along, 0, 1, out=along)
        x, y, z = x - along * axis[0], y - along * axis[1], z - along * axis[2]
        return np.sqrt(x * x + y * y + z * z) - np.float32(self.radius)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.minimum(self.start, self.end) - self.radius, np.maximum(self.start, self.end) + self.radius


@dataclass(frozen=True)
class Grown:
    """A solid with its surface moved outwards by `margin` mm (inwards where negative)."""

    shape: Shape
    margin: float

    def distance(self, points: np.ndarray) -> np.ndarray:
        return self.shape.distance(points) - np.float32(self.margin)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        # A distance bound grows an ellipsoid by more than `margin` along its long axes, at most by their ratio.
        low, high = self.shape.bounds()
        ratio = (high - low).max() / (high - low).min()
        return low - max(self.margin, 0) * ratio, high + max(self.margin, 0) * ratio


@dataclass(frozen=True)
class Union:
    """Union of solids, their joints rounded over `blend` mm."""

    shapes: tuple[Shape, ...]
    blend: float = 0.0

    def distance(self, points: np.ndarray) -> np.ndarray:
        result = self.shapes[0].distance(points)
        for shape in self.shapes[1:]:
            other = shape.distance(points)
            lower = np.minimum(result, other)
            if self.blend:
                overlap = np.maximum(self.blend - np.abs(result - other), 0)
                lower = lower - overlap * overlap * np.float32(0.25 / self.blend)
            result = lower
        return result

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        corners = [shape.bounds() for shape in self.shapes]
        low, high = np.min([c[0] for c in corners], axis=0), np.max([c[1] for c in corners], axis=0)
        return low - self.blend, high + self.blend


@dataclass(frozen=True)
class Difference:
    """What `solid` has outside `removed`."""

    solid: Shape
    removed: Shape

    def distance(self, points: np.ndarray) -> np.ndarray:
        return np.maximum(self.solid.distance(points), -self.removed.distance(points))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.solid.bounds()


@dataclass(frozen=True)
class Intersection:
    """What two solids share."""

    first: Shape
    second: Shape

    def distance(self, points: np.ndarray) -> np.ndarray:
        return np.maximum(self.first.distance(points), self.second.distance(points))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        one, two = self.first.bounds(), self.second.bounds()
        return np.maximum(one[0], two[0]), np.minimum(one[1], two[1])


@dataclass(frozen=True)
class Slab:
    """All points with low <= x_axis <= high."""

    axis: int
    low: float = -FAR_MM
    high: float = FAR_MM

    def distance(self, points: np.ndarray) -> np.ndarray:
        value = points[..., self.axis]
        return np.maximum(np.float32(self.low) - value, value - np.float32(self.high))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.full(3, -FAR_MM), np.full(3, FAR_MM)
        low[self.axis], high[self.axis] = self.low, self.high
        return low, high


@dataclass(frozen=True)
class Plate:
    """All points within `half` mm of the plane through `point` with the unit vector `normal`; an oblique Slab."""

    point: np.ndarray
    normal: np.ndarray
    half: float

    def distance(self, points: np.ndarray) -> np.ndarray:
        x, y, z = _local(points, self.point)
        a, b, c = self.normal.astype(np.float32)
        return np.abs(x * a + y * b + z * c) - np.float32(self.half)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.full(3, -FAR_MM), np.full(3, FAR_MM)


def tube(points: np.ndarray, radius: float) -> list[Capsule]:
    """Capsules of one radius along a polyline (n, 3)."""
    return [Capsule(a, b, radius) for a, b in pairwise(points)]


def bezier(start: np.ndarray, control: np.ndarray, end: np.ndarray, pieces: int) -> np.ndarray:
    """Polyline (pieces + 1, 3) along a quadratic Bezier curve."""
    t = np.linspace(0, 1, pieces + 1)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end


def _local(points: np.ndarray, origin: np.ndarray, rotation: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Coordinates relative to `origin`, along the rows of `rotation`; one array per axis, as that is faster."""
    x, y, z = (points[..., axis] - np.float32(origin[axis]) for axis in range(3))
    if rotation is None:
        return x, y, z
    return tuple(x * np.float32(a) + y * np.float32(b) + z * np.float32(c) for a, b, c in rotation)
