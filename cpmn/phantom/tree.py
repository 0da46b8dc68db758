"""Growing a vascular tree into the lung.

Volume-filling branching after Tawhai et al. (J Appl Physiol 2000; 97 2310-21) and Kitaoka et al. (1999): the points
that a vessel supplies are divided by a plane, and a branch grows towards the centre of each half. The share of the
points is the share of the flow, so radii follow the generalised Murray law r0^n = r1^n + r2^n at every bifurcation.
"""

from dataclasses import dataclass, field

import numpy as np

from cpmn.phantom.shapes import bezier

PROXIMAL_EXPONENT = 2.0
"""n down to the segmental arteries. Huang's orders 15 to 14 (14.8 to 7.34 mm, three to four branches) imply 1.7-2;
2 leads from a 25 mm trunk to segmental arteries of 4-6 mm, which are published too; 2.92 would make them 9 mm."""
DISTAL_EXPONENT = 2.92  # beyond: measured 2.92 +- 1.07 in human pulmonary arteries (Murray 1926 derived 3)
LEVELS = ("trunk", "main", "lobar", "segmental", "subsegmental", "peripheral")
SMALLEST_RADIUS_MM = 0.8  # our choice: subsegmental arteries are 2-4 mm wide, smaller ones vanish in the voxels
STEEPEST_DEGREES = 62.0  # bifurcation angles 28 +- 15 degrees; steeper ones are bent back to this
REACH = 0.45  # a branch goes this far towards the centre of what it supplies (Tawhai: 0.40)
LAST_REACH = 1.0  # terminal branches go all the way


@dataclass
class Branch:
    """A vessel between two bifurcations: its centre line (n, 3) in mm, radius in mm, and place in the tree."""

    points: np.ndarray
    radius: float
    level: str
    parent: int
    share: float
    children: list[int] = field(default_factory=list)

    @property
    def end(self) -> np.ndarray:
        """Last point."""
        return self.points[-1]

    @property
    def direction(self) -> np.ndarray:
        """Unit vector at the end."""
        step = self.points[-1] - self.points[-2]
        return step / np.linalg.norm(step)


@dataclass
class Tree:
    """Branches, parents before children; a root's parent is -1."""

    branches: list[Branch] = field(default_factory=list)

    def add(self, parent: int, points: np.ndarray, level: str, share: float, radius: float | None = None) -> int:
        """Append a branch and return its index; without a radius, it follows from the parent's by Murray's law."""
        width = self.daughter_radius(parent, share, level) if radius is None else radius
        self.branches.append(Branch(points, width, level, parent, share))
        if parent >= 0:
            self.branches[parent].children.append(len(self.branches) - 1)
        return len(self.branches) - 1

    def daughter_radius(self, parent: int, share: float, level: str) -> float:
        """Radius in mm of a branch that carries `share` of the flow, by Murray's law."""
        above = self.branches[parent]
        return above.radius * (share / above.share) ** (1 / exponent(level))


def exponent(level: str) -> float:
    """Exponent of Murray's law at the bifurcation that a branch of this level comes from."""
    return PROXIMAL_EXPONENT if LEVELS.index(level) <= LEVELS.index("segmental") else DISTAL_EXPONENT


def grow_lobe(tree: Tree, stem: int, points: np.ndarray, splits: int, random: np.random.Generator) -> None:
    """Fill a lobe from the end of branch `stem`.

    Parameters
    ----------
    points : (n, 3) points all over the lobe in mm; all of the stem's flow goes to them.
    splits : bifurcations from the lobar stem to the segmental branches.
    """
    waiting = [(stem, points, 0)]
    while waiting:
        parent, supplied, depth = waiting.pop()
        halves = _split(tree.branches[parent], supplied, random)
        if halves is None or not _wide_enough(tree.branches[parent], halves, _level(depth + 1, splits)):
            continue
        for half in halves:
            share = tree.branches[parent].share * len(half) / len(supplied)
            level = _level(depth + 1, splits)
            line = _grow_towards(tree.branches[parent], half, _is_last(tree.branches[parent], share, level))
            waiting.append((tree.add(parent, line, level, share), half, depth + 1))


def curve(start: np.ndarray, direction: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Polyline from `start`, leaving along `direction`, to `end`; in pieces of about 8 mm."""
    length = float(np.linalg.norm(end - start))
    return bezier(start, start + direction * length * 0.35, end, int(np.clip(round(length / 8), 1, 5)))


def _level(depth: int, splits: int) -> str:
    return LEVELS[min(2 + max(0, depth - splits + 1), len(LEVELS) - 1)]


def _split(parent: Branch, points: np.ndarray, random: np.random.Generator) -> list[np.ndarray] | None:
    """Divide points by a plane across their longest extent, in unequal parts; None when there are too few."""
    if len(points) < 4:
        return None
    centered = points - points.mean(axis=0)
    centered = centered - 0.8 * np.outer(centered @ parent.direction, parent.direction)
    normal = np.linalg.eigh(centered.T @ centered)[1][:, -1]
    normal = normal * np.sign(normal[np.argmax(np.abs(normal))])  # the sign would depend on the linear algebra library
    order = np.argsort(centered @ normal, kind="stable")
    cut = int(np.clip(round(len(points) * random.uniform(0.36, 0.64)), 2, len(points) - 2))
    return [points[order[:cut]], points[order[cut:]]]


def _wide_enough(parent: Branch, halves: list[np.ndarray], level: str) -> bool:
    smaller = min(len(half) for half in halves) / sum(len(half) for half in halves)
    return parent.radius * smaller ** (1 / exponent(level)) >= SMALLEST_RADIUS_MM


def _is_last(parent: Branch, share: float, level: str) -> bool:
    radius = parent.radius * (share / parent.share) ** (1 / exponent(level))
    return radius * 0.5 ** (1 / DISTAL_EXPONENT) < SMALLEST_RADIUS_MM


def _grow_towards(parent: Branch, points: np.ndarray, last: bool) -> np.ndarray:
    way = points.mean(axis=0) - parent.end
    length = max(float(np.linalg.norm(way)), 1e-3)
    direction = _bent(way / length, parent.direction)
    reach = max(length * (LAST_REACH if last else REACH), 1.5 * parent.radius, 4.0)
    return curve(parent.end, parent.direction, parent.end + direction * reach)


def _bent(direction: np.ndarray, along: np.ndarray) -> np.ndarray:
    """`direction` brought to within STEEPEST_DEGREES of `along`, in their common plane."""
    cosine, limit = float(direction @ along), np.radians(STEEPEST_DEGREES)
    if cosine >= np.cos(limit):
        return direction
    across = direction - cosine * along
    size = np.linalg.norm(across)
    if size < 1e-6:
        return along
    return np.cos(limit) * along + np.sin(limit) * across / size
