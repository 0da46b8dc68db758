import numpy as np
import pytest

from cpmn.phantom.anatomy import Anatomy
from cpmn.phantom.tree import LEVELS, SMALLEST_RADIUS_MM, STEEPEST_DEGREES, Branch, Tree, exponent, grow_lobe


@pytest.fixture(params=["arteries", "veins"])
def tree(request: pytest.FixtureRequest, anatomy: Anatomy) -> Tree:
    return getattr(anatomy, request.param)


def test_murray_holds_at_every_bifurcation(tree: Tree):
    forks = [branch for branch in tree.branches if branch.children]
    assert len(forks) > 200
    for branch in forks:
        children = [tree.branches[child] for child in branch.children]
        n = exponent(children[0].level)
        assert {exponent(child.level) for child in children} == {n}
        assert sum(child.radius**n for child in children) == pytest.approx(branch.radius**n, rel=1e-9)


def test_branches_are_connected_and_get_narrower(tree: Tree):
    for branch in tree.branches:
        if branch.parent >= 0:
            parent = tree.branches[branch.parent]
            assert branch.points[0] == pytest.approx(parent.end)
            assert branch.radius < parent.radius or len(parent.children) == 1
            assert LEVELS.index(branch.level) >= LEVELS.index(parent.level)


def test_calibres_are_the_published_ones(anatomy: Anatomy):
    branches = anatomy.arteries.branches
    diameters = {level: [2 * b.radius for b in branches if b.level == level] for level in LEVELS}
    assert 22 <= diameters["trunk"][0] <= 28
    assert 4 <= np.median(diameters["segmental"]) <= 6.5
    assert 2 <= np.median(diameters["subsegmental"]) <= 5
    assert [len(diameters["main"]), len(diameters["segmental"]), len(diameters["subsegmental"])] == [2, 18, 36]
    assert min(diameters["peripheral"]) >= 2 * SMALLEST_RADIUS_MM


def test_arteries_reach_all_of_the_lungs_and_stay_inside(anatomy: Anatomy):
    ends = np.array([b.end for b in anatomy.arteries.branches if b.level == "peripheral"], np.float32)
    assert (anatomy.lungs.distance(ends) < 1).mean() > 0.95
    spread = ends.max(axis=0) - ends.min(axis=0)
    assert (spread > (190, 110, 150)).all()


def test_bifurcations_are_not_steeper_than_the_limit():
    tree = Tree()
    stem = tree.add(-1, np.array([[0.0, 0, 0], [0, 0, 10]]), "lobar", 1.0, 5.0)
    points = np.random.default_rng(0).uniform(-60, 60, (500, 3))
    grow_lobe(tree, stem, points, 1, np.random.default_rng(1))
    children = [tree.branches[child] for child in tree.branches[stem].children]
    assert [child.level for child in children] == ["segmental", "segmental"]
    for child in children:
        way = child.end - child.points[0]
        angle = np.degrees(np.arccos(way[2] / np.linalg.norm(way)))
        assert angle <= STEEPEST_DEGREES + 1e-6


def test_shares_of_the_flow_add_up(tree: Tree):
    roots = [branch.share for branch in tree.branches if branch.parent < 0]
    assert sum(roots) == pytest.approx(1)
    leaves = [branch.share for branch in tree.branches if not branch.children]
    assert sum(leaves) == pytest.approx(1)


def test_branch_direction_is_that_of_its_end():
    branch = Branch(np.array([[0.0, 0, 0], [3, 0, 0], [3, 2, 0]]), 1.0, "lobar", -1, 1.0)
    assert branch.direction == pytest.approx([0, 1, 0])
