import numpy as np
import pytest

from cpmn.phantom.shapes import Capsule, Difference, Ellipsoid, Grown, Intersection, Slab, Union, bezier, tube

ROTATION = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
BALL = Ellipsoid(np.zeros(3), np.full(3, 10.0))
EGG = Ellipsoid(np.array((3.0, -2, 1)), np.array((30.0, 12, 20)), rotation=ROTATION)
CHEST = Ellipsoid(np.array((0.0, 5, 0)), np.array((30.0, 20, 40)), power=2.5)
ROD = Capsule(np.array((-20.0, 0, 0)), np.array((20.0, 10, 5)), 4.0)
SHAPES = {
    "ball": BALL,
    "rotated ellipsoid": EGG,
    "superellipsoid": CHEST,
    "capsule": ROD,
    "grown": Grown(CHEST, 3.0),
    "shrunk": Grown(CHEST, -3.0),
    "union": Union((EGG, ROD)),
    "smooth union": Union((EGG, ROD, BALL), blend=6),
    "difference": Difference(CHEST, BALL),
    "intersection": Intersection(CHEST, Slab(2, -5, 8)),
}


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).uniform(-50, 50, (20000, 3)).astype(np.float32)


@pytest.mark.parametrize("name", SHAPES)
def test_distance_never_exceeds_the_true_one(name: str, points: np.ndarray):
    """Lipschitz: a value cannot change by more than the way between two points, so it bounds the distance to 0."""
    shape, random = SHAPES[name], np.random.default_rng(1)
    step = random.normal(size=points.shape).astype(np.float32) * random.uniform(0.1, 10)
    change = np.abs(shape.distance(points + step) - shape.distance(points))
    assert (change <= np.linalg.norm(step, axis=1) + 1e-3).all()


@pytest.mark.parametrize("name", SHAPES)
def test_bounds_hold_the_solid(name: str, points: np.ndarray):
    shape = SHAPES[name]
    inside = points[shape.distance(points) < 0]
    low, high = shape.bounds()
    assert len(inside) > 20
    assert (inside >= low - 1e-3).all()
    assert (inside <= high + 1e-3).all()


def test_ball_and_capsule_distances_are_exact():
    assert BALL.distance(np.array([[0.0, 0, 0], [13, 0, 0], [0, 6, 8]])) == pytest.approx([-10, 3, 0], abs=1e-5)
    rod = Capsule(np.zeros(3), np.array((10.0, 0, 0)), 2.0)
    assert rod.distance(np.array([[5.0, 5, 0], [14, 3, 0], [-3, 0, 0]])) == pytest.approx([3, 3, 1], abs=1e-5)


def test_ellipsoid_sign_follows_its_equation(points: np.ndarray):
    local = (points - EGG.center) @ ROTATION.T / EGG.radii
    equation = (local**2).sum(axis=1) - 1
    clear = np.abs(equation) > 1e-3
    assert ((EGG.distance(points) < 0) == (equation < 0))[clear].all()


def test_difference_and_smooth_union(points: np.ndarray):
    in_chest, in_ball = CHEST.distance(points) < 0, BALL.distance(points) < 0
    assert ((Difference(CHEST, BALL).distance(points) < 0) == (in_chest & ~in_ball)).all()
    plain, smooth = Union((EGG, ROD)).distance(points), Union((EGG, ROD), blend=6).distance(points)
    assert (smooth <= plain + 1e-4).all()
    assert smooth.min() < 0 < (plain - smooth).max() <= 6 / 4 + 1e-3


def test_tube_follows_the_bezier_curve():
    line = bezier(np.zeros(3), np.array((10.0, 0, 0)), np.array((10.0, 10, 0)), 4)
    assert line[0] == pytest.approx([0, 0, 0])
    assert line[2] == pytest.approx([7.5, 2.5, 0])
    pieces = tube(line, 1.0)
    assert [len(pieces), pieces[-1].end.tolist()] == [4, [10, 10, 0]]
