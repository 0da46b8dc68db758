import numpy as np
import pytest

from cpmn.phantom import render
from cpmn.phantom.anatomy import Anatomy
from cpmn.phantom.materials import LABELS
from cpmn.phantom.motion import Bell, Motion, Term
from cpmn.phantom.render import Canvas, Grid, sample_offsets
from cpmn.phantom.shapes import Capsule, Ellipsoid, Shape, Slab, Union

GRID = Grid((30, 26, 20), (4.0, 4.0, 5.0), (-58.0, -50.0, -110.0))
PARTS: list[tuple[int, Shape]] = [
    (1, Ellipsoid(np.array((0.0, 0, -60)), np.array((45.0, 30, 40)), power=2.5)),
    (2, Capsule(np.array((-30.0, -10, -80)), np.array((20.0, 15, -40)), 5.0)),
    (3, Union((Capsule(np.array((10.0, 0, -60)), np.array((60.0, 0, -60)), 1.5),))),
    (4, Ellipsoid(np.array((0.0, 0, -60)), np.array((0.8, 0.8, 0.8)))),
]


def brute_force(canvas: Canvas, motion: Motion | None, over: set[int] | None) -> np.ndarray:
    """Labels (z, y, x, samples) of asking every sample at its exact place."""
    x, y, z = canvas.grid.axes()
    centers = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]), axis=-1)
    points = centers[..., None, :] + canvas.offsets
    points = (points if motion is None else motion.to_ctpa(points)).astype(np.float32)
    labels = np.zeros(points.shape[:-1], np.uint8)
    for label, shape in PARTS:
        allowed = np.ones(labels.shape, bool) if over is None else np.isin(labels, list(over))
        labels[allowed & (shape.distance(points) < 0)] = label
    return labels


@pytest.mark.parametrize("over", [None, {0, 1}])
def test_still_scene_equals_brute_force(over: set[int] | None):
    canvas = Canvas(GRID, None, 2.0)
    canvas.paint(PARTS, over=over)
    assert set(np.unique(canvas.labels)) >= {0, 1, 2, 3}
    assert (canvas.labels != brute_force(canvas, None, over)).mean() < 1e-5  # rounding at the surface


FINE = Grid((47, 41, 35), (2.3, 2.3, 2.7), (-58.0, -50.0, -110.0))  # blocks of several slices, and rests of blocks


@pytest.mark.parametrize("over", [None, {0, 1}])
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("grid", [GRID, FINE], ids=["coarse", "fine"])
def test_asking_blocks_first_changes_nothing(
    anatomy: Anatomy, monkeypatch, grid: Grid, moved: bool, over: set[int] | None
):
    labels = []
    for large in (0, 10**9):
        monkeypatch.setattr(render, "LARGE", large)
        canvas = Canvas(grid, anatomy.motion if moved else None, 2.0)
        canvas.paint(PARTS, over=over)
        labels.append(canvas.labels)
    np.testing.assert_array_equal(*labels)


def test_moved_scene_equals_brute_force(anatomy: Anatomy):
    canvas = Canvas(GRID, anatomy.motion, 2.0)
    canvas.paint(PARTS)
    exact = brute_force(canvas, anatomy.motion, None)
    assert (canvas.labels != exact).mean() < 1e-3
    still = Canvas(GRID, None, 2.0)
    still.paint(PARTS)
    assert (canvas.labels != still.labels).mean() > 0.02


def test_partial_volume_of_a_ball_gives_its_volume():
    canvas = Canvas(Grid((20, 20, 10), (4.0, 4.0, 8.0), (-38.0, -38.0, -36.0)), None, 1.0)
    canvas.paint([(1, Ellipsoid(np.array((0.7, -1.3, 2.1)), np.full(3, 21.0)))])
    volume = canvas.fraction(1).sum() * canvas.grid.voxel_ml
    assert volume == pytest.approx(4 / 3 * np.pi * 2.1**3, rel=0.01)


def test_a_slice_averages_over_its_thickness():
    """Of slices of 8 mm around z = -12, -4, ..., what fills a quarter gives a quarter of the difference."""
    canvas = Canvas(Grid((3, 3, 4), (2.0, 2.0, 8.0), (-2.0, -2.0, -12.0)), None, 1.0)
    canvas.paint([(1, Ellipsoid(np.array((0.0, 0, -500)), np.array((1e4, 1e4, 492.0))))])  # all below z = -8
    values = np.zeros(LABELS)
    values[0], values[1] = -1000, 60
    assert canvas.mean(values)[:, 1, 1] == pytest.approx([60, -1000, -1000, -1000])
    canvas.paint([(1, Ellipsoid(np.array((0.0, 0, -500)), np.array((1e4, 1e4, 494.0))))])  # up to z = -6
    assert canvas.mean(values)[1, 1, 1] == pytest.approx(0.25 * 60 - 0.75 * 1000)


def test_fractions_above_finds_every_label_drawn():
    canvas = Canvas(GRID, None, 2.0)
    canvas.paint(PARTS)
    found = canvas.fractions_above(1)
    assert set(found) == set(np.unique(canvas.labels)) - {0, 1}
    for label, share in found.items():
        assert share == pytest.approx(canvas.fraction(label))


def test_compression_is_the_determinant(anatomy: Anatomy):
    canvas = Canvas(GRID, anatomy.motion, 4.0)
    x, y, z = GRID.axes()
    matrix = anatomy.motion.jacobian(x[None, None, :], y[None, :, None], z[:, None, None])
    assert np.asarray(canvas.compression()) == pytest.approx(np.linalg.det(matrix), abs=1e-4)
    assert Canvas(GRID, None, 4.0).compression() == 1.0


def test_samples_fill_the_voxel_evenly():
    offsets = sample_offsets((2.6, 2.6, 3.5), 1.3)
    assert len(offsets) == 2 * 2 * 3
    assert offsets.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-6)
    assert offsets.max(axis=0) == pytest.approx([0.65, 0.65, 3.5 / 3], abs=1e-6)


def test_what_lies_outside_the_grid_is_not_drawn():
    canvas = Canvas(GRID, None, 2.0)
    canvas.paint([(1, Ellipsoid(np.array((500.0, 0, 0)), np.full(3, 10.0)))])
    assert not canvas.labels.any()


def test_sway_blurs_by_taking_the_samples_at_different_times():
    """A plane moved by 6 mm during the exposure: the edge becomes a ramp of that width with the same mean place."""
    grid = Grid((60, 3, 3), (1.0, 1.0, 1.0), (-29.5, -1.0, -1.0))
    moving = Motion((Term((6.0, 0, 0), (Bell(0, 1e6), Bell(0, 1e6), Bell(0, 1e6))),))
    half = Slab(0, high=0.0)
    canvases = [Canvas(grid, None, 0.25, sway) for sway in (None, moving)]
    for canvas in canvases:
        canvas.paint([(1, half)])
    still, blurred = (canvas.fraction(1)[1, 1] for canvas in canvases)
    assert blurred.sum() == pytest.approx(still.sum(), abs=0.1)
    x = grid.axes()[0]
    assert blurred == pytest.approx(np.clip(0.5 - x / 6, 0, 1), abs=0.08)
    assert blurred[x < -3.5] == pytest.approx(1)
    assert blurred[x > 3.5] == pytest.approx(0)


def test_swaying_moved_scene_equals_brute_force(anatomy: Anatomy):
    sway = Motion((Term((1.0, -2.0, 4.0), (Bell(0, 60), Bell(0, 50), Bell(-60, 40))),))
    canvas = Canvas(GRID, anatomy.motion, 2.0, sway)
    canvas.paint(PARTS)
    x, y, z = canvas.grid.axes()
    centers = np.stack(np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None]), axis=-1)
    moved = sway.displacement(*np.moveaxis(centers, -1, 0))
    points = centers[..., None, :] + canvas.offsets + canvas.times[:, None] * moved[..., None, :]
    points = anatomy.motion.to_ctpa(points).astype(np.float32)
    exact = np.zeros(points.shape[:-1], np.uint8)
    for label, shape in PARTS:
        exact[shape.distance(points) < 0] = label
    assert (canvas.labels != exact).mean() < 1e-3
