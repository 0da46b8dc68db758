"""What patients have beside emboli, PE and normals alike: each kind from its own random stream, before any embolus.

How often and how large each is, is our choice after ordinary chest CT of patients with suspected PE; no source counts
all of them. None depends on the label.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from cpmn.phantom.materials import Tissue
from cpmn.phantom.shapes import Capsule, Difference, Ellipsoid, Intersection, Plate, Shape, Slab, Union, tube
from cpmn.phantom.streams import random_stream
from cpmn.phantom.torso import Part, Size, Torso
from cpmn.phantom.tree import Tree

OBLIQUE = (np.array((0.0, -60.0, -62.0)), np.array((0.0, -0.95, 1.0)) / np.hypot(0.95, 1.0))
"""Point and normal of the plane between upper and lower lobes; the same as in `cpmn.phantom.pulmonary.lobes_of`."""
HORIZONTAL_Z = 8.0  # between the right upper and middle lobe
SHARES = {
    "atelectasis": 0.5,
    "effusion": 0.2,
    "mucus": 0.3,
    "calcified walls": 0.5,
    "coronary calcium": 0.3,
    "calcified arteries": 0.08,
    "thickened bronchi": 0.3,
    "cuffs": 0.3,
    "filling defects": 0.3,
}
"""Share of patients with each; of the others fissures are in all, nodules and nodes are counted by Poisson."""
NODULES, NODES = 1.5, 4.0  # mean count


@dataclass(frozen=True)
class Layer:
    """Parts that are drawn together, over the tissues in `over` alone."""

    name: str
    parts: tuple[Part, ...]
    over: tuple[Tissue, ...]


@dataclass(frozen=True)
class Findings:
    """`early` layers are drawn before the vessels, `late` ones after the airways and before the clots."""

    early: tuple[Layer, ...] = ()
    late: tuple[Layer, ...] = ()

    def counts(self) -> dict[str, int]:
        """Number of drawn parts by kind."""
        return {layer.name: len(layer.parts) for layer in (*self.early, *self.late)}


@dataclass(frozen=True)
class HealthyChest:
    """A chest without findings: what they are placed in."""

    size: Size
    torso: Torso
    bronchi: tuple[Part, ...]
    arteries: Tree
    inside: np.ndarray = field(repr=False)
    """Points (n, 3) deep in the lungs."""


Draw = Callable[[HealthyChest, np.random.Generator], list[Part]]


def draw_findings(seed: int, patient_id: str, chest: HealthyChest) -> Findings:
    """Draw a patient's findings."""

    def layers(kinds: dict[str, tuple[Draw, tuple[Tissue, ...]]]) -> tuple[Layer, ...]:
        drawn = []
        for name, (draw, over) in kinds.items():
            random = random_stream(seed, patient_id, f"finding {name}")
            present = random.random() < SHARES.get(name, 1.0)
            drawn.append(Layer(name, tuple(draw(chest, random)) if present else (), over))
        return tuple(drawn)

    return Findings(layers(EARLY), layers(LATE))


def _fissures(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    point, normal = chest.size.at(*OBLIQUE[0]), OBLIQUE[1] / chest.size.scale
    normal /= np.linalg.norm(normal)
    above = Plate(point + normal * 500, normal, 500)
    level = HORIZONTAL_Z * chest.size.scale[2]
    right = Intersection(Slab(0, high=0), Slab(2, level - 0.6, level + 0.6))
    return [
        (Tissue.FISSURE, Plate(point, normal, random.uniform(0.4, 0.8))),
        (Tissue.FISSURE, Intersection(right, above)),
    ]


def _nodules(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    centers = chest.inside[random.integers(len(chest.inside), size=random.poisson(NODULES))]
    return [(Tissue.NODULE, _blob(center, random.uniform(1.5, 4.0), random)) for center in centers]


def _nodes(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    """Lymph nodes beside central to segmental arteries."""
    beside = [b for b in chest.arteries.branches if b.level in ("main", "lobar", "segmental")]
    parts: list[Part] = []
    for index in random.integers(len(beside), size=random.poisson(NODES)):
        branch, radius = beside[index], random.uniform(2.5, 7.0)
        place = branch.points[random.integers(len(branch.points))]
        away = _across(branch.direction, random) * (branch.radius + 0.8 * radius)
        parts.append((Tissue.NODE, _blob(place + away, radius, random)))
    return parts


def _atelectasis(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    return [(Tissue.ATELECTASIS, _crescent(chest, random.uniform(3, 12), random.uniform(-50, 0)))]


def _effusion(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    sides = [(-np.inf, 0), (0, np.inf), (-np.inf, np.inf)]
    low, high = sides[random.choice(3, p=(0.3, 0.25, 0.45))]
    layer = _crescent(chest, random.uniform(5, 22), random.uniform(-30, 40))
    beside = Slab(0, max(low, -1e4), min(high, 1e4))
    return [(Tissue.EFFUSION, Intersection(layer, beside))]


def _crescent(chest: HealthyChest, thick: float, top: float) -> Shape:
    """The lowest part of the chest in a supine patient: what lies less than `thick` mm before the back wall."""
    cavity = chest.torso.cavity
    forwards = Ellipsoid(cavity.center + np.array((0, -thick, 0.4 * thick)), cavity.radii, cavity.power)
    region = Intersection(Slab(1, low=0), Slab(2, high=top * chest.size.scale[2]))
    return Difference(region, forwards)


def _mucus(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    """Plugs that fill some mm to a few cm of small bronchi."""
    lumens = [shape for tissue, shape in chest.bronchi if tissue == Tissue.AIRWAY and isinstance(shape, Capsule)]
    small = [index for index, lumen in enumerate(lumens) if lumen.radius < 3.5]
    chosen = random.choice(small, size=min(len(small), random.integers(1, 6)), replace=False) if small else []
    plugs = [lumens[index : index + random.integers(1, 4)] for index in chosen]
    return [(Tissue.MUCUS, piece) for plug in plugs for piece in plug]


def _calcified_walls(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    aorta = [shape for tissue, shape in chest.torso.parts if tissue == Tissue.AORTA and isinstance(shape, Capsule)]
    pieces = [aorta[index] for index in random.integers(len(aorta), size=1 + random.poisson(4))]
    return [_plaque(piece.start, piece.end, piece.radius, random) for piece in pieces]


def _coronary_calcium(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    """Along the left anterior descending and the right coronary artery, on the heart's surface."""
    parts: list[Part] = []
    for start, end in (((26, -38, -8), (48, -66, -50)), ((-4, -58, -20), (-10, -58, -66))):
        for along in random.uniform(0, 1, random.poisson(1.5)):
            place = np.array(start) + along * (np.array(end) - start)
            parts.append((Tissue.CALCIUM, _blob(chest.size.at(*place), random.uniform(1.0, 2.2), random)))
    return parts


def _calcified_arteries(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    large = [b for b in chest.arteries.branches if b.level in ("main", "lobar")]
    chosen = [large[index] for index in random.integers(len(large), size=random.integers(1, 4))]
    return [_plaque(branch.points[0], branch.end, branch.radius, random) for branch in chosen]


def _thickened_bronchi(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    gain, side = random.uniform(1.2, 1.5), random.choice((-1, 0, 1))
    walls = [shape for tissue, shape in chest.bronchi if tissue == Tissue.AIRWAY_WALL and isinstance(shape, Capsule)]
    return [
        (Tissue.AIRWAY_WALL, Capsule(wall.start, wall.end, gain * wall.radius))
        for wall in walls
        if side == 0 or side * wall.start[0] > 0
    ]


def _cuffs(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    """Thickened walls of a share of the arteries, and what fills the sheath round them."""
    share, thick = random.uniform(0.05, 0.25), random.uniform(0.6, 1.6)
    levels = ("lobar", "segmental", "subsegmental")
    chosen = [b for b in chest.arteries.branches if b.level in levels and random.random() < share]
    return [(Tissue.CUFF, piece) for b in chosen for piece in tube(b.points, b.radius + thick)]


def _filling_defects(chest: HealthyChest, random: np.random.Generator) -> list[Part]:
    """Unmixed blood in central arteries, which looks like an embolus on the CTPA and like blood on the NCT."""
    branches = [b for b in chest.arteries.branches if b.level in ("main", "lobar", "segmental")]
    parts: list[Part] = []
    for index in random.integers(len(branches), size=random.integers(1, 4)):
        branch, part = branches[index], random.uniform(0.4, 0.9)
        aside = _across(branch.direction, random) * (1 - part) * branch.radius
        parts.append((Tissue.FILLING, Union(tuple(tube(branch.points + aside, part * branch.radius)))))
    return parts


EARLY: dict[str, tuple[Draw, tuple[Tissue, ...]]] = {
    "fissures": (_fissures, (Tissue.LUNG,)),
    "nodules": (_nodules, (Tissue.LUNG,)),
    "nodes": (_nodes, (Tissue.LUNG, Tissue.MEDIASTINUM, Tissue.AIRWAY_WALL)),
    "thickened bronchi": (_thickened_bronchi, (Tissue.LUNG,)),
    "cuffs": (_cuffs, (Tissue.LUNG, Tissue.MEDIASTINUM)),
    "atelectasis": (_atelectasis, (Tissue.LUNG, Tissue.FISSURE, Tissue.NODULE)),
    "effusion": (_effusion, (Tissue.LUNG, Tissue.FISSURE, Tissue.NODULE, Tissue.ATELECTASIS)),
}
LATE: dict[str, tuple[Draw, tuple[Tissue, ...]]] = {
    "mucus": (_mucus, (Tissue.AIRWAY,)),
    "calcified walls": (_calcified_walls, (Tissue.AORTA, Tissue.MEDIASTINUM)),
    "coronary calcium": (_coronary_calcium, (Tissue.MYOCARDIUM, Tissue.MEDIASTINUM, Tissue.FAT)),
    "calcified arteries": (_calcified_arteries, (Tissue.ARTERY,)),
    "filling defects": (_filling_defects, (Tissue.ARTERY,)),
}


def _plaque(start: np.ndarray, end: np.ndarray, radius: float, random: np.random.Generator) -> Part:
    """Calcium in the wall of a vessel."""
    place = start + random.uniform(0, 1) * (end - start)
    return Tissue.CALCIUM, _blob(place + radius * _across(end - start, random), random.uniform(1.0, 3.0), random)


def _blob(center: np.ndarray, radius: float, random: np.random.Generator) -> Ellipsoid:
    return Ellipsoid(np.asarray(center, float), radius * random.uniform(0.7, 1.3, 3))


def _across(direction: np.ndarray, random: np.random.Generator) -> np.ndarray:
    across = np.cross(direction, random.normal(size=3))
    return across / max(float(np.linalg.norm(across)), 1e-6)
