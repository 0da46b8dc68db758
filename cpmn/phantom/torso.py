"""Everything but the pulmonary vessels: body wall, bones, lungs, mediastinum, heart and great vessels, airways.

Canonical chest: x to the patient's left, y to the back, z to the head, in mm, 0 behind the heart's upper border. Every
position and extent is multiplied by the patient's scale. All positions are our choice, after ordinary chest CT.
"""

from dataclasses import dataclass

import numpy as np

from cpmn.phantom.materials import Tissue
from cpmn.phantom.shapes import Capsule, Difference, Ellipsoid, Grown, Intersection, Shape, Slab, Union, bezier, tube

RIB_Z = tuple(range(-150, 100, 25))  # height of the ribs' heads at the spine
VERTEBRA_Z = tuple(range(-175, 176, 25))

HEART = (20.0, -30.0, -45.0)  # its centre
UPPER_CAVA = ((-32.0, -18.0, 130.0), (-28.0, -20.0, 60.0), (-26.0, -18.0, -25.0))

Part = tuple[Tissue, Shape]


@dataclass(frozen=True)
class Habitus:
    """How a patient differs from another of the same size: ranges are our choice, within what the fields of view hold.

    `heart` is its size relative to the usual one, `diaphragm_mm` how much higher it stands, `scoliosis_mm` how far the
    spine bends to the left, `arms_down` whether the arms lie beside the chest.
    """

    heart: float = 1.0
    diaphragm_mm: float = 0.0
    scoliosis_mm: float = 0.0
    arms_down: bool = False


def draw_habitus(random: np.random.Generator) -> Habitus:
    """A patient's habitus."""
    return Habitus(
        heart=float(random.uniform(0.88, 1.18)),
        diaphragm_mm=float(random.uniform(-28, 10)),
        scoliosis_mm=float(np.clip(random.normal(0, 3.5), -9, 9)),
        arms_down=bool(random.random() < 0.12),
    )


@dataclass(frozen=True)
class Torso:
    """Shapes that the vessels must know: the lungs in their cavity, and `parts` in drawing order."""

    scale: np.ndarray
    cavity: Ellipsoid
    lungs: Shape
    parts: tuple[Part, ...]


def build_torso(scale: np.ndarray, habitus: Habitus) -> Torso:
    """The torso of a patient of the given scale (x, y, z)."""
    size = Size(scale)
    cavity = size.ellipsoid((0, 0, -40), (132, 86, 155), power=2.3)
    abdomen = _abdomen(size, habitus.diaphragm_mm)
    heart = size.ellipsoid(HEART, np.array((60, 43, 50)) * habitus.heart, rotation=_heart_axes())
    lungs = Difference(cavity, Union((abdomen, *_mediastinum(size), Grown(heart, 4)), blend=10))
    parts = (
        *(_arms(size) if habitus.arms_down else ()),
        *_wall(size, cavity),
        (Tissue.MEDIASTINUM, cavity),
        (Tissue.LIVER, Intersection(abdomen, cavity)),
        (Tissue.LUNG, lungs),
        *_bones(size, cavity, habitus.scoliosis_mm),
        *_heart(size, heart, habitus.heart),
        *_great_vessels(size),
    )
    return Torso(scale, cavity, lungs, parts)


@dataclass(frozen=True)
class Size:
    """Places canonical coordinates in a patient."""

    scale: np.ndarray

    def at(self, *point: float) -> np.ndarray:
        """A canonical point (x, y, z) in this patient."""
        return np.asarray(point, float) * self.scale

    def ellipsoid(self, center, radii, power: float = 2.0, rotation: np.ndarray | None = None) -> Ellipsoid:
        """An ellipsoid given in canonical coordinates."""
        return Ellipsoid(self.at(*center), self.at(*radii), power, rotation)

    def slice(self, low: float, high: float) -> Slab:
        """All points between two canonical heights."""
        return Slab(2, low * self.scale[2], high * self.scale[2])

    def tube(self, points, radius: float) -> list[Capsule]:
        """A tube along canonical points; its radius is scaled with the patient's mean size."""
        return tube(np.asarray(points, float) * self.scale, radius * float(self.scale.mean()))


def _wall(size: Size, cavity: Ellipsoid) -> list[Part]:
    body = size.ellipsoid((0, 2, 0), (152, 106, 900), power=2.6)
    muscles: list[Shape] = [Intersection(_widened(cavity, 15), Grown(body, -9))]
    for side in (-1, 1):
        muscles += [
            Intersection(size.ellipsoid((side * 30, 84, 0), (34, 20, 900)), Grown(body, -6)),  # erector spinae
            size.ellipsoid((side * 62, -80, 62), (58, 13, 52)),  # pectorals
            size.ellipsoid((side * 112, 25, 85), (34, 62, 62)),  # shoulder girdle, latissimus
        ]
    inner = Grown(body, -6)
    return [
        (Tissue.SKIN, body),
        (Tissue.FAT, Grown(body, -2)),
        *((Tissue.MUSCLE, Intersection(muscle, inner)) for muscle in muscles),
    ]


def _arms(size: Size) -> list[Part]:
    """Upper arms, of which the fields of view hold the inner part alone."""
    parts: list[Part] = []
    for side in (-1, 1):
        line = [(side * 196, 30, 90), (side * 204, 40, -250)]
        layers = ((Tissue.SKIN, 46), (Tissue.FAT, 44), (Tissue.MUSCLE, 36), (Tissue.CORTICAL_BONE, 12))
        parts += [(tissue, piece) for tissue, radius in layers for piece in size.tube(line, radius)]
    return parts


def _bones(size: Size, cavity: Ellipsoid, scoliosis_mm: float) -> list[Part]:
    parts: list[Part] = []
    for z in RIB_Z:
        for side in (-1, 1):
            line = _rib(size, cavity, z, side, _bend(z, scoliosis_mm))
            parts += [(Tissue.CORTICAL_BONE, piece) for piece in tube(line, 5.0)]
            parts += [(Tissue.SPONGY_BONE, piece) for piece in tube(line, 3.2)]
    sternum = size.ellipsoid((0, -91, 15), (17, 6, 75), power=3)
    parts += [(Tissue.CORTICAL_BONE, sternum), (Tissue.SPONGY_BONE, Grown(sternum, -1.6))]
    for side in (-1, 1):
        blade = size.ellipsoid((side * 98, 72, 60), (34, 6, 58), rotation=_turn(side * 32))
        parts += [(Tissue.CORTICAL_BONE, blade), (Tissue.SPONGY_BONE, Grown(blade, -1.6))]
    return parts + _spine(size, scoliosis_mm)


def _bend(z: float, scoliosis_mm: float) -> float:
    """How far the spine lies to the left at a canonical height: most at the heart, little at both ends."""
    return scoliosis_mm * float(np.cos(np.clip(z / 150, -1, 1) * np.pi / 2))


def _rib(size: Size, cavity: Ellipsoid, z: float, side: int, bend: float) -> np.ndarray:
    """Centre line of a rib: from the spine round the cavity, 8 mm outside it and falling forwards."""
    angle = np.linspace(0.12, 0.88 if z > -110 else 0.6, 15) * np.pi
    height = (z - 62 * (1 - np.cos(angle)) / 2) * size.scale[2]
    section = np.sqrt(np.clip(1 - ((height - cavity.center[2]) / cavity.radii[2]) ** 2, 0.12, 1))
    direction = np.stack([side * np.sin(angle), np.cos(angle)], axis=1)
    norm = (np.abs(direction / cavity.radii[:2]) ** cavity.power).sum(axis=1) ** (1 / cavity.power)
    reach = section / norm + 8
    line = np.column_stack([cavity.center[:2] + direction * reach[:, None], height])
    line[:, 0] += bend * np.linspace(1, 0, len(line)) ** 3
    return line


def _spine(size: Size, scoliosis_mm: float) -> list[Part]:
    parts: list[Part] = [(Tissue.MUSCLE, size.ellipsoid((0, 80, 0), (26 + abs(scoliosis_mm), 18, 900)))]
    bends = [_bend(z, scoliosis_mm) for z in VERTEBRA_Z]
    for z, bend in zip(VERTEBRA_Z, bends, strict=True):
        parts += _vertebra(size, z, bend)
    levels = list(zip(VERTEBRA_Z, bends, strict=True))
    tunnels = ((Tissue.CORTICAL_BONE, (14, 11, 900), 8, 6), (Tissue.CANAL, (9.5, 7.5, 900), 13, 13))
    for tissue, radii, below, above in tunnels:
        for z, bend in levels:
            tunnel = size.ellipsoid((bend, 87, 0), radii)
            parts.append((tissue, Intersection(tunnel, size.slice(z - below, z + above))))
    return parts


def _vertebra(size: Size, z: float, bend: float) -> list[Part]:
    body = size.ellipsoid((bend, 66, 0), (19, 15, 900))
    parts: list[Part] = [
        (Tissue.DISC, Intersection(body, size.slice(z - 12.5, z + 12.5))),
        (Tissue.CORTICAL_BONE, Intersection(body, size.slice(z - 10, z + 10))),
        (Tissue.SPONGY_BONE, Intersection(Grown(body, -1.4), size.slice(z - 8.6, z + 8.6))),
        (Tissue.CORTICAL_BONE, Capsule(size.at(bend, 92, z), size.at(bend, 98, z - 14), 3.5)),  # spinous process
    ]
    for side in (-1, 1):
        process = (size.at(bend + side * 12, 86, z + 2), size.at(bend + side * 34, 92, z + 4))
        parts += [(Tissue.CORTICAL_BONE, Capsule(*process, 5.0)), (Tissue.SPONGY_BONE, Capsule(*process, 3.2))]
    return parts


def _abdomen(size: Size, lift: float) -> Union:
    """What pushes up from below: a dome under each lung (right higher) and the central tendon under the heart.

    The recesses round the domes end at z = -100, so that both fields of view hold them in any breath-hold.
    """
    domes = (
        Slab(2, high=-100 * size.scale[2]),
        size.ellipsoid((-62, 8, -136 + lift), (72, 82, 88)),
        size.ellipsoid((62, 12, -142 + lift), (68, 80, 82)),
        size.ellipsoid((0, 0, -150 + lift), (70, 78, 62)),
    )
    return Union(domes, blend=14)


def _mediastinum(size: Size) -> list[Shape]:
    spine = size.ellipsoid((0, 76, 0), (30, 26, 900))
    column = size.ellipsoid((2, -6, 10), (38, 88, 170))
    arch = size.tube([(-18, -28, 30), (4, -30, 58), (26, 10, 58), (30, 44, 40), (28, 46, -120)], 16)
    hila = size.tube([(-46, 10, 6), (0, 5, 15), (46, 14, 16)], 14)
    return [spine, column, *arch, *hila]


def _heart(size: Size, heart: Ellipsoid, grown: float) -> list[Part]:
    turn = _heart_axes()

    def about(point: tuple[float, float, float]) -> np.ndarray:
        return np.array(HEART) + grown * (np.array(point) - HEART)

    chambers = (
        (Tissue.RIGHT_HEART, (-22, -26, -44), (22, 25, 32), None),  # right atrium
        (Tissue.RIGHT_HEART, (14, -50, -50), (38, 15, 30), turn),  # right ventricle
        (Tissue.LEFT_HEART, (38, -22, -58), (36, 17, 24), turn),  # left ventricle
        (Tissue.LEFT_HEART, (4, 6, -20), (31, 18, 22), None),  # left atrium
    )
    drawn = [
        (tissue, size.ellipsoid(about(center), grown * np.array(radii), rotation=rotation))
        for tissue, center, radii, rotation in chambers
    ]
    outflow = size.tube([about((10, -54, -34)), (16, -52, -12)], 12)
    return [(Tissue.MYOCARDIUM, heart), *drawn[:2], *((Tissue.RIGHT_HEART, piece) for piece in outflow), *drawn[2:]]


def _great_vessels(size: Size) -> list[Part]:
    rising = bezier(np.array((10, -30, -32.0)), np.array((-30, -40, 15.0)), np.array((-6, -26, 52.0)), 6)
    arch = bezier(np.array((-6, -26, 52.0)), np.array((12, -8, 82.0)), np.array((28, 34, 46.0)), 7)
    falling = np.array([(28, 34, 46), (29, 44, 20), (24, 46, -60), (10, 46, -140)], float)
    tubes = [
        (Tissue.CAVA, UPPER_CAVA, 9),
        (Tissue.LOWER_CAVA, [(-22, -10, -60), (-20, -4, -140)], 11),
        (Tissue.AORTA, rising, 15),
        (Tissue.AORTA, arch, 13.5),
        (Tissue.AORTA, falling, 12),
        (Tissue.AORTA, [(-2, -20, 62), (-18, -8, 130)], 4.5),  # brachiocephalic trunk
        (Tissue.AORTA, [(8, -6, 66), (14, 2, 130)], 4.5),  # left carotid artery
        (Tissue.AORTA, [(20, 12, 62), (34, 16, 130)], 4.5),  # left subclavian artery
        (Tissue.ESOPHAGUS, [(6, 36, 130), (6, 40, 40), (8, 40, -60), (20, 30, -140)], 6),
    ]
    return [(tissue, piece) for tissue, line, radius in tubes for piece in size.tube(line, radius)]


def _widened(cavity: Ellipsoid, margin: float) -> Ellipsoid:
    return Ellipsoid(cavity.center, cavity.radii + margin, cavity.power)


def _heart_axes() -> np.ndarray:
    """Rows: long axis towards the apex (left, front, down), then two axes across it."""
    long = np.array((0.82, -0.38, -0.42))
    long /= np.linalg.norm(long)
    across = np.cross((0, 0, 1.0), long)
    across /= np.linalg.norm(across)
    return np.stack([long, across, np.cross(long, across)])


def _turn(degrees: float) -> np.ndarray:
    """Rotation about z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([(c, s, 0), (-s, c, 0), (0, 0, 1.0)])
