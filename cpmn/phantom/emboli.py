"""Emboli: clots along arteries, drawn last and from their own random streams."""

from dataclasses import dataclass

import numpy as np

from cpmn.phantom.difficulty import draw_contrasts
from cpmn.phantom.shapes import Difference, Shape, Union, tube
from cpmn.phantom.tree import Tree

COUNT = (10.0, 3, 25)  # clots per patient: mean of a Poisson distribution, fewest, most; published mean 1,497 in 149
VOLUME_ML = (0.3, 1.1, 0.03, 8.0)
"""Per clot: median and logarithmic SD of a lognormal distribution, smallest, largest. Median published; the SD is our
choice, which makes the mean total 5 mL."""
TOTAL_ML = (1.0, 20.0)  # of a patient
PLACES = {"central": ("trunk", "main", "lobar"), "segmental": ("segmental",), "subsegmental": ("subsegmental",)}
PLACE_OF = {level: place for place, levels in PLACES.items() for level in levels}
PREFERENCE = {"central": 4.0, "segmental": 1.5, "subsegmental": 1.0}  # weight of one artery; our choice
SHORTEST_MM = {"central": 8.0, "segmental": 1.5, "subsegmental": 1.5}  # centre line without the round ends; our choice
LONGEST_MM = 60.0
FULL_SHARE = 0.4  # share of acute clots that fill the lumen; never in the trunk and the main arteries; our choice
NEVER_FULL = ("trunk", "main")
CHRONIC_PATIENTS, CHRONIC_CLOTS = 0.15, 0.7  # share of PE patients with chronic clots, and of their clots; our choice
CHRONIC_FORMS = ("eccentric", "web", "recanalised")
PART = {"full": 1.0, "eccentric": 0.67, "recanalised": 0.9, "web": 0.42}
"""Radius of the thread of the same volume, relative to the lumen's; a partial clot draws its own."""
CTPA_HU = {"acute": (33.0, 15.0, 6.0, 63.0), "chronic": (87.0, 10.0, 65.0, 110.0)}
"""Mean, SD, lowest, highest: published for acute, the mean for chronic; the spread of chronic is our choice."""
CLEARANCE_MM = 6.0  # between two clots, so that they stay two objects; our choice


@dataclass(frozen=True)
class Clot:
    """One embolus. `shape` is cut by the arterial lumen when drawn; `artery` is its index in the arterial tree."""

    clot_id: int
    place: str
    level: str
    artery: int
    age: str
    form: str
    center: np.ndarray
    length_mm: float
    shape: Shape
    contrast: str
    over_blood_hu: float
    ctpa_hu: float

    @property
    def occlusion(self) -> str:
        """Whether the clot fills the lumen."""
        return "full" if self.form == "full" else "partial"


@dataclass(frozen=True)
class Site:
    """A place for a clot: centre line (n, 3) and lumen radii (n,) in mm inside artery `artery`."""

    artery: int
    line: np.ndarray
    radii: np.ndarray

    @property
    def length(self) -> float:
        """Length of the line in mm."""
        return float(np.linalg.norm(np.diff(self.line, axis=0), axis=1).sum())


def draw_emboli(
    arteries: Tree, lungs: Shape, difficulty: str, random: np.random.Generator, contrast: np.random.Generator
) -> list[Clot]:
    """Draw the clots of a PE patient, ids from 1, the largest first.

    Parameters
    ----------
    arteries : the patient's arterial tree.
    lungs : segmental and smaller clots lie in arteries whose centre is inside.
    difficulty : see `cpmn.phantom.difficulty`.
    random : stream of number, size, place, age and form.
    contrast : stream of the contrast on NCT alone, so that difficulties differ in nothing else.
    """
    clots: list[Clot] = []
    taken: list[np.ndarray] = []
    volumes, chronic = draw_volumes(random), bool(random.random() < CHRONIC_PATIENTS)
    contrasts = draw_contrasts(difficulty, len(volumes), contrast)
    candidates = _candidates(arteries, lungs)
    for volume, (name, over) in zip(volumes, contrasts, strict=True):
        age = "chronic" if chronic and random.random() < CHRONIC_CLOTS else "acute"
        form = _form(age, random)
        part = PART.get(form) or random.uniform(0.55, 0.8)
        order = _shuffled(arteries, candidates, random)
        site = _site(arteries, [a for a in order if _suits(arteries, a, form)], volume, part, taken)
        if site is None:
            continue
        taken.append(site.line)
        clots.append(_clot(len(clots) + 1, arteries, site, age, form, part, random, name, over))
    return clots


def draw_volumes(random: np.random.Generator) -> list[float]:
    """Volumes in mL of a patient's clots, largest first: their number, sizes and total as published."""
    mean, fewest, most = COUNT
    median, sigma, smallest, largest = VOLUME_ML
    while True:
        count = int(np.clip(random.poisson(mean), fewest, most))
        volumes = np.clip(median * np.exp(sigma * random.standard_normal(count)), smallest, largest)
        if TOTAL_ML[0] <= volumes.sum() <= TOTAL_ML[1]:
            return sorted(volumes.tolist(), reverse=True)


def _form(age: str, random: np.random.Generator) -> str:
    if age == "chronic":
        return str(random.choice(CHRONIC_FORMS))
    return "full" if random.random() < FULL_SHARE else "partial"


def _suits(arteries: Tree, artery: int, form: str) -> bool:
    return form != "full" or arteries.branches[artery].level not in NEVER_FULL


def _candidates(arteries: Tree, lungs: Shape) -> np.ndarray:
    """Branches a clot may start in: central ones, and smaller ones inside the lungs."""
    chosen = [index for index, branch in enumerate(arteries.branches) if branch.level in PLACE_OF]
    middles = np.array([arteries.branches[index].points.mean(axis=0) for index in chosen], np.float32)
    ends = np.array([arteries.branches[index].end for index in chosen], np.float32)
    inside = (lungs.distance(middles) < -3) & (lungs.distance(ends) < -2)
    central = np.array([PLACE_OF[arteries.branches[index].level] == "central" for index in chosen])
    return np.array(chosen)[inside | central]


def _shuffled(arteries: Tree, candidates: np.ndarray, random: np.random.Generator) -> list[int]:
    """Candidates in a random order in which preferred places tend to come first (Efraimidis and Spirakis 2006)."""
    weight = [PREFERENCE[PLACE_OF[arteries.branches[index].level]] for index in candidates]
    keys = random.random(len(candidates)) ** (1 / np.array(weight))
    return candidates[np.argsort(-keys, kind="stable")].tolist()


def _site(arteries: Tree, order: list[int], volume: float, part: float, taken: list[np.ndarray]) -> Site | None:
    """The first place where a thread of `part` of the lumen's radius has the volume in mL; None if there is none."""
    for artery in order:
        line, radii = _path(arteries, int(artery), LONGEST_MM)
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        width = part * radii
        inner = np.concatenate([[0], np.cumsum(np.pi * width[1:] ** 2 * np.diff(along))])
        length = float(np.interp(volume * 1000 - 4 / 3 * np.pi * width[0] ** 3, inner, along, left=0, right=-1))
        shortest = SHORTEST_MM[PLACE_OF[arteries.branches[artery].level]]
        if length < shortest or _too_close(line[along <= length + 1], taken, float(radii[0])):
            continue
        steps = np.linspace(0, length, max(2, int(length / 3)))
        cut = np.column_stack([np.interp(steps, along, line[:, axis]) for axis in range(3)])
        return Site(int(artery), cut, np.interp(steps, along, radii))
    return None


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
    steps = np.linspace(first, min(first + length, along[-1]), max(3, int(length / 2)))
    return np.column_stack([np.interp(steps, along, line[:, axis]) for axis in range(3)]), np.interp(
        steps, along, width
    )


def _too_close(line: np.ndarray, taken: list[np.ndarray], radius: float) -> bool:
    gaps = [np.linalg.norm(line[:, None] - other[None], axis=-1).min() for other in taken]
    return bool(gaps) and min(gaps) < CLEARANCE_MM + 2 * radius


def _clot(
    clot_id: int,
    arteries: Tree,
    site: Site,
    age: str,
    form: str,
    part: float,
    random: np.random.Generator,
    contrast: str,
    over_blood_hu: float,
) -> Clot:
    mean, sd, low, high = CTPA_HU[age]
    level = arteries.branches[site.artery].level
    return Clot(
        clot_id=clot_id,
        place=PLACE_OF[level],
        level=level,
        artery=site.artery,
        age=age,
        form=form,
        center=site.line[len(site.line) // 2],
        length_mm=site.length,
        shape=clot_shape(site, form, part, random),
        contrast=contrast,
        over_blood_hu=over_blood_hu,
        ctpa_hu=float(np.clip(random.normal(mean, sd), low, high)),
    )


def clot_shape(site: Site, form: str, part: float, random: np.random.Generator) -> Shape:
    """The clot's solid; what of it lies outside the lumen is cut off when it is drawn.

    Parameters
    ----------
    form : 'full' fills the lumen; 'partial' is a narrower thread against the wall or (seldom) floating; 'eccentric'
        lines one side of the wall; 'web' is two thin strands across the lumen; 'recanalised' has a channel in it.
    part : radius of a partial thread relative to the lumen's.
    """
    line, radii, aside = site.line, site.radii[:, None], _aside(site.line, random)
    whole = _thread(line, site.radii * 1.1)
    if form == "full":
        return whole
    if form == "partial":
        return _thread(line + aside * (1.05 - part) * radii * random.uniform(0.2, 1), part * site.radii)
    if form == "eccentric":
        return Difference(whole, _thread(line + aside * 0.45 * radii, 0.8 * site.radii))
    if form == "recanalised":
        return Difference(whole, _thread(line + aside * 0.2 * radii, random.uniform(0.35, 0.5) * site.radii))
    strands = [_thread(line + aside * side * 0.35 * radii, 0.3 * site.radii) for side in (-1, 1)]
    return Union(tuple(strands))


def _thread(line: np.ndarray, radii: np.ndarray) -> Union:
    pieces = zip(line[:-1], line[1:], radii[1:], strict=True)
    return Union(tuple(tube(np.stack([a, b]), float(radius))[0] for a, b, radius in pieces))


def _aside(line: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Unit vector across the line's overall direction."""
    along = line[-1] - line[0]
    across = np.cross(along, random.normal(size=3))
    return across / max(float(np.linalg.norm(across)), 1e-6)
