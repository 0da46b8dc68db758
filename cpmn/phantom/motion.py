"""Breathing between the two breath-holds: an analytic, smooth, invertible displacement.

The reference space is that of the CTPA. A point x of the NCT corresponds to the point x + u(x) of the CTPA, so an NCT
is drawn by asking the reference anatomy at x + u(x). u is a sum of separable bells, hence smooth, and cheap on grids.
Magnitudes: mean 3-8 mm inside the lungs, 15-25 mm near the diaphragm, mostly cranio-caudal and growing towards the
diaphragm (domain facts; our own design). No sliding at the pleura: the motion fades into the chest wall.
"""

from dataclasses import dataclass

import numpy as np

from cpmn.errors import CpmnError

TARGET_MM = (16.0, 19.5)  # largest displacement inside the lungs; our choice within 15-25 mm
DIAPHRAGM_Z = -70.0
TRANSVERSE = (0.06, 0.15)  # widening of the chest in x and y, as a share of the cranio-caudal motion; our choice
WOBBLES = 6  # weak local bells, so that no global formula undoes the motion


@dataclass(frozen=True)
class Bell:
    """t^order exp(-t^power) of t = (value - center) / width: one factor of a term."""

    center: float
    width: float
    power: int = 2
    order: int = 0

    def value(self, coordinate: np.ndarray) -> np.ndarray:
        t = (coordinate - self.center) / self.width
        return t**self.order * np.exp(-(t**self.power))

    def slope(self, coordinate: np.ndarray) -> np.ndarray:
        t = (coordinate - self.center) / self.width
        inner = (self.order * t ** (self.order - 1) if self.order else 0) - self.power * t ** (
            self.power - 1 + self.order
        )
        return inner * np.exp(-(t**self.power)) / self.width


@dataclass(frozen=True)
class Term:
    """amplitude (x, y, z) in mm times a bell along each axis."""

    amplitude: tuple[float, float, float]
    bells: tuple[Bell, Bell, Bell]


@dataclass(frozen=True)
class Motion:
    """The displacement u as a sum of terms. Coordinates are LPS in mm."""

    terms: tuple[Term, ...]

    def displacement(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """u (..., 3) in mm at coordinates that broadcast to (...); open grids are cheap."""
        result = np.zeros((3, *np.broadcast_shapes(x.shape, y.shape, z.shape)), np.result_type(x, y, z, np.float32))
        for term in self.terms:
            values = [bell.value(c) for bell, c in zip(term.bells, (x, y, z), strict=True)]
            for axis in np.flatnonzero(term.amplitude):
                result[axis] += _product([term.amplitude[axis] * values[0], *values[1:]])
        return np.moveaxis(result, 0, -1)  # stored by component, which is faster to compute with

    def jacobian(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Matrices (..., 3, 3) of d(x + u)_i / dx_j at coordinates that broadcast to (...)."""
        shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
        result = np.zeros((3, 3, *shape), np.result_type(x, y, z, np.float32))
        for axis in range(3):
            result[axis, axis] = 1
        for term in self.terms:
            values = [bell.value(c) for bell, c in zip(term.bells, (x, y, z), strict=True)]
            slopes = [bell.slope(c) for bell, c in zip(term.bells, (x, y, z), strict=True)]
            for along in range(3):
                factors = [slopes[axis] if axis == along else values[axis] for axis in range(3)]
                for axis in np.flatnonzero(term.amplitude):
                    result[axis, along] += _product([term.amplitude[axis] * factors[0], *factors[1:]])
        return np.moveaxis(result, (0, 1), (-2, -1))

    def to_ctpa(self, points: np.ndarray) -> np.ndarray:
        """CTPA points (..., 3) that correspond to NCT points (..., 3)."""
        points = np.asarray(points, float)
        return points + self.displacement(points[..., 0], points[..., 1], points[..., 2])

    def to_nct(self, points: np.ndarray, tolerance_mm: float = 1e-6) -> np.ndarray:
        """NCT points (..., 3) that correspond to CTPA points (..., 3): x = p - u(x), iterated to the tolerance.

        Raises CpmnError if the iteration does not settle, which an invertible gentle motion does not do.
        """
        target = np.asarray(points, float)
        guess = target
        for _ in range(200):
            error = target - self.to_ctpa(guess)
            guess = guess + error
            if error.size == 0 or np.abs(error).max() < tolerance_mm:
                return guess
        raise CpmnError("the phantom's motion could not be inverted. Report this seed: it should not happen.")


def draw_motion(random: np.random.Generator, scale: np.ndarray, lung_points: np.ndarray) -> Motion:
    """Draw a patient's motion.

    Parameters
    ----------
    scale : the patient's size relative to the canonical chest, (x, y, z).
    lung_points : (n, 3) CTPA points all over the lungs, on which the magnitude is set.
    """
    direction = random.choice((-1.0, 1.0))  # which of the two phases is breathed in more deeply
    target = random.uniform(*TARGET_MM)
    breathing = _breathing(scale, random.uniform(0.95, 1.05))
    wobble = tuple(_wobble(random, scale) for _ in range(WOBBLES))
    shape = Motion(breathing)
    amplitude = target
    for _ in range(6):  # the largest displacement is asked for at NCT points, which depend on the motion itself
        motion = Motion(tuple(_scaled(term, direction * amplitude) for term in shape.terms) + wobble)
        inside = motion.to_nct(lung_points)
        sizes = np.linalg.norm(motion.to_ctpa(inside) - inside, axis=-1)
        amplitude *= target / sizes.max()
    return motion


def _breathing(scale: np.ndarray, spread: float) -> tuple[Term, ...]:
    sx, sy, sz = scale
    falling = Bell(DIAPHRAGM_Z * sz, 78 * sz * spread)
    wide, deep = Bell(0, 128 * sx, power=4), Bell(-8 * sy, 82 * sy, power=4)
    spine = Term((0, 0, -0.42), (Bell(0, 34 * sx), Bell(74 * sy, 34 * sy), falling))
    return (
        Term((0, 0, 1), (wide, deep, falling)),
        spine,  # the spine stays where it is
        Term((TRANSVERSE[0], 0, 0), (Bell(0, 128 * sx, 4, order=1), deep, falling)),
        Term((0, TRANSVERSE[1], 0), (wide, Bell(60 * sy, 120 * sy, 4, order=1), falling)),
    )


def _wobble(random: np.random.Generator, scale: np.ndarray) -> Term:
    center = random.uniform((-95, -50, -60), (95, 50, 80)) * scale
    width = random.uniform(35, 55)
    amplitude = random.normal(0, (0.5, 0.5, 0.8))
    return Term(tuple(amplitude), tuple(Bell(float(c), width) for c in center))  # type: ignore[arg-type]


def _scaled(term: Term, factor: float) -> Term:
    return Term(tuple(a * factor for a in term.amplitude), term.bells)  # type: ignore[arg-type]


def _product(factors: list[np.ndarray]) -> np.ndarray:
    return factors[0] * factors[1] * factors[2]
