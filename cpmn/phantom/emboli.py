"""Emboli: clots along arteries, drawn last and from their own random stream."""

from dataclasses import dataclass

import numpy as np

from cpmn.phantom.shapes import Shape, Union, tube
from cpmn.phantom.tree import Tree

COUNTS = {"central": (1, 3), "segmental": (2, 5), "subsegmental": (1, 4)}  # low, high (exclusive) per patient
PLACES = {"central": ("trunk", "main", "lobar"), "segmental": ("segmental",), "subsegmental": ("subsegmental",)}
LENGTH_MM = {"central": (18, 40), "segmental": (12, 26), "subsegmental": (8, 18)}
"""Our choice, so that a clot's median volume is about 0.3 mL and a patient's total 1-20 mL (domain facts)."""
FULL_SHARE = 0.4  # share of clots outside the central arteries that fill the lumen; our choice
CLOT_CTPA_HU = (33.0, 15.0, 6.0, 63.0)  # acute clot: mean, SD, lowest, highest; published
CLOT_OVER_BLOOD_HU = {"learnable": (15.0, 35.0)}  # contrast on NCT per difficulty
CLEARANCE_MM = 6.0  # between two clots, so that they stay two objects; our choice


@dataclass(frozen=True)
class Clot:
    """One embolus. `shape` is cut by the arterial lumen when drawn; `artery` is its index in the arterial tree."""

    clot_id: int
    place: str
    level: str
    artery: int
    occlusion: str
    center: np.ndarray
    length_mm: float
    shape: Shape
    over_blood_hu: float
    ctpa_hu: float


def draw_emboli(arteries: Tree, lungs: Shape, difficulty: str, random: np.random.Generator) -> list[Clot]:
    """Draw the clots of a PE patient, ids from 1.

    Parameters
    ----------
    arteries : the patient's arterial tree.
    lungs : segmental and smaller clots lie in arteries whose centre is inside.
    difficulty : key of CLOT_OVER_BLOOD_HU.
    """
    clots: list[Clot] = []
    taken: list[np.ndarray] = []
    for place, (low, high) in COUNTS.items():
        wanted = int(random.integers(low, high))
        for artery in random.permutation(_candidates(arteries, lungs, place)):
            line, radii = _path(arteries, int(artery), random.uniform(*LENGTH_MM[place]))
            if wanted == 0 or _too_close(line, taken, float(radii.max())):
                continue
            taken.append(line)
            wanted -= 1
            clots.append(_clot(len(clots) + 1, place, arteries, int(artery), (line, radii), difficulty, random))
    return clots


def _candidates(arteries: Tree, lungs: Shape, place: str) -> list[int]:
    """Branches a clot may start in: of the right level, and inside the lungs unless central."""
    names = PLACES[place]
    chosen = [index for index, branch in enumerate(arteries.branches) if branch.level in names]
    if place == "central":
        return chosen
    middles = np.array([arteries.branches[index].points.mean(axis=0) for index in chosen], np.float32)
    ends = np.array([arteries.branches[index].end for index in chosen], np.float32)
    inside = (lungs.distance(middles) < -3) & (lungs.distance(ends) < -2)
    return [index for index, good in zip(chosen, inside, strict=True) if good]


def _path(arteries: Tree, artery: int, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Centre line (n, 3) of at most `length` mm through an artery, and on into its larger children; lumen radii (n,).

    It starts after a quarter of the artery, so that a clot belongs to the branch it is named after.
    """
    points, radii, index = [], [], artery
    while index >= 0 and sum(map(len, points)) < 60:
        branch = arteries.branches[index]
        points.append(branch.points[1:] if points else branch.points)
        radii.append(np.full(len(points[-1]), branch.radius))
        index = max(branch.children, key=lambda child: arteries.branches[child].radius, default=-1)
    line, width = np.concatenate(points), np.concatenate(radii)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    first = np.linalg.norm(np.diff(arteries.branches[artery].points, axis=0), axis=1).sum() * 0.25
    steps = np.linspace(first, min(first + length, along[-1]), max(3, int(length / 3)))
    return np.column_stack([np.interp(steps, along, line[:, axis]) for axis in range(3)]), np.interp(
        steps, along, width
    )


def _too_close(line: np.ndarray, taken: list[np.ndarray], radius: float) -> bool:
    gaps = [np.linalg.norm(line[:, None] - other[None], axis=-1).min() for other in taken]
    return bool(gaps) and min(gaps) < CLEARANCE_MM + 2 * radius


def _clot(
    clot_id: int,
    place: str,
    arteries: Tree,
    artery: int,
    path: tuple[np.ndarray, np.ndarray],
    difficulty: str,
    random: np.random.Generator,
) -> Clot:
    line, radii = path
    full = bool(random.random() < FULL_SHARE) and place != "central"
    if full:
        shape = _thread(line, radii * 1.1)
    else:  # a thread narrower than the lumen, against its wall or (seldom) floating in its middle
        part = random.uniform(0.55, 0.8)
        shape = _thread(
            line + _aside(line, random) * ((1.05 - part) * radii)[:, None] * random.uniform(0.2, 1), part * radii
        )
    mean, sd, low, high = CLOT_CTPA_HU
    return Clot(
        clot_id=clot_id,
        place=place,
        level=arteries.branches[artery].level,
        artery=artery,
        occlusion="full" if full else "partial",
        center=line[len(line) // 2],
        length_mm=float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()),
        shape=shape,
        over_blood_hu=float(random.uniform(*CLOT_OVER_BLOOD_HU[difficulty])),
        ctpa_hu=float(np.clip(random.normal(mean, sd), low, high)),
    )


def _thread(line: np.ndarray, radii: np.ndarray) -> Union:
    pieces = zip(line[:-1], line[1:], radii[1:], strict=True)
    return Union(tuple(tube(np.stack([a, b]), float(radius))[0] for a, b, radius in pieces))


def _aside(line: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Unit vector across the line's overall direction."""
    along = line[-1] - line[0]
    across = np.cross(along, random.normal(size=3))
    return across / max(float(np.linalg.norm(across)), 1e-6)
