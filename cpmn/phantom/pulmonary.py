"""Pulmonary arteries from the trunk, veins to the left atrium, and the bronchi beside the arteries."""

from collections.abc import Sequence

import numpy as np

from cpmn.phantom.materials import Tissue
from cpmn.phantom.shapes import Capsule, Shape, bezier, tube
from cpmn.phantom.torso import Part, Size
from cpmn.phantom.tree import Tree, curve, grow_lobe

LOBES = {  # bifurcations from lobar to segmental vessels: 4 + 2 + 4 and 4 + 4 segments (anatomy: 10 and 8-9)
    "right upper": 2,
    "right middle": 1,
    "right lower": 2,
    "left upper": 2,
    "left lower": 2,
}
POINTS_PER_LITRE = 500  # supply points per litre of lung; far more than terminal branches
PLEURA_MM = 3.0  # supply points keep this far from the lung's surface
TRUNK_RADIUS_MM = (11.5, 14.0)  # main pulmonary artery 25 +- 3 mm
VEIN_TO_ARTERY = 0.95  # calibre of the veins as a whole; our choice
BRONCHUS_TO_ARTERY = 0.98  # artery:bronchus ratio, published
CARINA = (0.0, 18.0, 40.0)
MAIN_BRONCHI = {"right": (-42.0, 24.0, 12.0), "left": (46.0, 24.0, 6.0)}  # their ends
WALL_SHARE = 0.2  # airway wall per lumen radius; our choice (adults: 1-2 mm of 4-9 mm)
SMALLEST_BRONCHUS_MM = 1.6  # narrower lumens are not drawn; our choice

HILUM = {"right": (-40, 2, 8), "left": (40, 8, 24)}  # ends of the main pulmonary arteries
HILUM_MM = 3.0  # these ends lie up to this far from there, along each axis, from patient to patient; our choice
INTERLOBAR = (-50, 14, -16)  # end of the right interlobar artery
VEINS = {  # pulmonary vein: where it leaves the lung, where it enters the left atrium, and what it drains
    "right superior": ((-44, -12, -4), (-16, 0, -10), ("right upper", "right middle")),
    "right inferior": ((-42, 22, -32), (-16, 10, -28), ("right lower",)),
    "left superior": ((46, -10, 4), (24, 0, -10), ("left upper",)),
    "left inferior": ((44, 26, -28), (24, 12, -26), ("left lower",)),
}


def lung_points(lungs: Shape, size: Size, random: np.random.Generator) -> np.ndarray:
    """Random points (n, 3) in mm all over the lungs, a constant number per litre."""
    low, high = size.at(-135, -90, -130), size.at(135, 90, 120)
    count = round(float(np.prod(high - low)) / 1e6 * POINTS_PER_LITRE)
    points = random.uniform(low, high, (count, 3))
    return points[lungs.distance(points.astype(np.float32)) < 0]


def lobes_of(points: np.ndarray, size: Size) -> dict[str, np.ndarray]:
    """Points of each lobe, divided by the oblique fissures and the right horizontal one."""
    x, y, z = (points / size.scale).T
    lower = z < -62 + (y + 60) * 0.95
    middle = ~lower & (z < 8) & (x < 0)
    side = {"right": x < 0, "left": x >= 0}
    part = {"upper": ~lower & ~middle, "middle": middle, "lower": lower}
    return {name: points[side[name.split()[0]] & part[name.split()[1]]] for name in LOBES}


def _moved(places: dict[str, tuple], random: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: np.array(place, float) + random.uniform(-HILUM_MM, HILUM_MM, 3) for name, place in places.items()}


def grow_arteries(lobes: dict[str, np.ndarray], size: Size, random: np.random.Generator) -> Tree:
    """The arterial tree: trunk, two main arteries, lobar ones, and what `grow_lobe` adds."""
    share = {name: len(points) / sum(map(len, lobes.values())) for name, points in lobes.items()}
    right = share["right upper"] + share["right middle"] + share["right lower"]
    radius = random.uniform(*TRUNK_RADIUS_MM)
    tree, fork = Tree(), np.array((6.0, -20, 22))
    hilum = _moved(HILUM, random)
    trunk = tree.add(-1, bezier(size.at(15, -52, -14), size.at(17, -46, 16), size.at(*fork), 5), "trunk", 1.0, radius)
    to_right = bezier(size.at(*fork), size.at(-14, -8, 16), size.at(*hilum["right"]), 5)
    to_left = bezier(size.at(*fork), size.at(22, -10, 32), size.at(*hilum["left"]), 5)
    right_main, left_main = tree.add(trunk, to_right, "main", right), tree.add(trunk, to_left, "main", 1 - right)
    below = share["right middle"] + share["right lower"]
    way = curve(tree.branches[right_main].end, tree.branches[right_main].direction, size.at(*INTERLOBAR))
    interlobar = tree.add(right_main, way, "lobar", below)
    origin = {"right upper": right_main, "right middle": interlobar, "right lower": interlobar}
    for name, points in lobes.items():
        stem = _stem(tree, origin.get(name, left_main), points, share[name])
        grow_lobe(tree, stem, points, LOBES[name], random)
    return tree


def grow_veins(lobes: dict[str, np.ndarray], size: Size, random: np.random.Generator) -> Tree:
    """The venous tree, grown like the arteries from four pulmonary veins at the left atrium."""
    total, tree = sum(map(len, lobes.values())), Tree()
    whole = VEIN_TO_ARTERY * random.uniform(*TRUNK_RADIUS_MM)
    for hilum, atrium, names in VEINS.values():
        share = sum(len(lobes[name]) for name in names) / total
        line = np.stack([size.at(*atrium), size.at(*hilum)])
        root = tree.add(-1, line, "main", share, whole * share**0.5)
        for name in names:
            stem = root if len(names) == 1 else _stem(tree, root, lobes[name], len(lobes[name]) / total)
            grow_lobe(tree, stem, lobes[name], LOBES[name], random)
    return tree


def vessel_shapes(tree: Tree) -> list[Capsule]:
    """Capsules of all branches, those of the trunk first."""
    return [piece for branch in tree.branches for piece in tube(branch.points, branch.radius)]


def bronchi(arteries: Tree) -> tuple[Part, ...]:
    """Bronchi beside the lobar to subsegmental arteries, behind and medially."""
    lumens = []
    for branch in arteries.branches:
        radius = BRONCHUS_TO_ARTERY * branch.radius / (1 + WALL_SHARE)  # the ratio is that of outer radii
        if branch.level in ("trunk", "main") or radius < SMALLEST_BRONCHUS_MM:
            continue
        along = branch.end - branch.points[0]
        along /= np.linalg.norm(along)
        side = np.array((-np.sign(branch.end[0]), 1.0, 0.2))
        side -= (side @ along) * along
        side *= (1 + BRONCHUS_TO_ARTERY) * branch.radius / max(float(np.linalg.norm(side)), 0.1)
        lumens += tube(branch.points + side, radius)
    return _airway_parts(lumens)


def airways(size: Size) -> tuple[Part, ...]:
    """Trachea and main bronchi."""
    carina = np.array(CARINA)
    trachea = size.tube([(0, 10, 140), tuple(carina)], 9.0)
    ways = [bezier(carina, (carina + end) / 2 + (0, 0, 6), np.array(end), 4) for end in MAIN_BRONCHI.values()]
    return _airway_parts([*trachea, *(piece for way in ways for piece in size.tube(way, 6.5))])


def _airway_parts(lumens: Sequence[Capsule]) -> tuple[Part, ...]:
    """All walls first, then all lumens, so that junctions are open."""
    walls = [Capsule(piece.start, piece.end, piece.radius * (1 + WALL_SHARE)) for piece in lumens]
    return (*((Tissue.AIRWAY_WALL, wall) for wall in walls), *((Tissue.AIRWAY, lumen) for lumen in lumens))


def _stem(tree: Tree, parent: int, points: np.ndarray, share: float) -> int:
    """Lobar branch from the end of `parent` into the lobe."""
    origin = tree.branches[parent]
    target = origin.end + 0.35 * (points.mean(axis=0) - origin.end)
    return tree.add(parent, curve(origin.end, origin.direction, target), "lobar", share)
