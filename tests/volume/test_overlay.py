"""Slices with marks: known answers, and what is drawn where."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cpmn.volume.overlay import OPACITY, glow, grey, outline, read_upright, show_slice, telling_slice


def unit_edges(mask: np.ndarray) -> set[tuple[int, int, str]]:
    """Edges of one voxel (x, y, direction) that the outline consists of; none twice."""
    units = [
        (edge.x + step * bool(edge.dx), edge.y + step * bool(edge.dy), "h" if edge.dx else "v")
        for edge in outline(mask)
        for step in range(edge.dx + edge.dy)
    ]
    assert len(units) == len(set(units))
    return set(units)


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_outline_is_every_edge_between_in_and_out(mask: np.ndarray):
    padded = np.pad(mask, 1)
    across = {(int(x) - 1, int(y), "h") for y, x in np.argwhere(padded[:-1] != padded[1:])}
    along = {(int(x), int(y) - 1, "v") for y, x in np.argwhere(padded[:, :-1] != padded[:, 1:])}
    assert unit_edges(mask) == across | along


def marked(index: int, voxels: int = 1) -> np.ndarray:
    volume = np.zeros((6, 4, 4), np.uint16)
    volume[index].flat[:voxels] = 7  # a clot's id, not its size
    return volume


def test_the_reference_comes_first_then_the_prediction_then_the_activation():
    cam = marked(5) / 10
    reference = marked(1, 2) + marked(2, 3)
    assert telling_slice(6, reference=reference, prediction=marked(4), cam=cam) == (2, "largest reference area")
    none = np.zeros((6, 4, 4))
    assert telling_slice(6, reference=none, prediction=marked(4), cam=cam) == (4, "largest predicted area")
    assert telling_slice(6, reference=none, prediction=none, cam=cam) == (5, "highest class activation")
    assert telling_slice(6, prediction=none, cam=none) == telling_slice(6) == (3, "middle of the scan")


def test_the_highest_activation_counts_and_not_the_largest():
    cam = np.zeros((4, 2, 2))
    cam[1], cam[2, 0], cam[3, 0, 0] = 0.4, [0.9, np.nan], np.nan
    assert telling_slice(4, cam=cam)[0] == 2


def test_grey_levels_end_at_the_window():
    np.testing.assert_allclose(grey(np.array([-1000, -135, 40, 215, 3000], np.int16)), [0, 0, 0.5, 1, 1])


def test_activation_covers_by_its_own_strength():
    layer = glow(np.array([[0, 0.2, 1, np.nan]]))
    np.testing.assert_allclose(layer[0, :, 3], [0, 0.3 * OPACITY, OPACITY, 0], atol=1e-6)


def test_a_slice_has_its_proportions_and_its_mask_an_outline_in_place():
    figure = Figure(figsize=(4, 4), dpi=50)
    axes = figure.add_axes((0, 0, 1, 1))
    mask = np.zeros((8, 8), bool)
    mask[:4, 4:] = True  # the upper right quarter
    show_slice(axes, np.full((8, 8), -1000), (1.0, 0.5), {"#ff0000": mask, "#00ff00": None})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    red, green, _, _ = np.moveaxis(np.asarray(canvas.buffer_rgba()).astype(int), 2, 0)
    rows, columns = np.nonzero(red - green > 100)
    assert (columns.min(), rows.max()) == (pytest.approx(100, abs=2), pytest.approx(100, abs=2))
    assert rows.min() == pytest.approx(50, abs=2)  # half as high as wide, in the middle of the figure
    assert columns.max() >= 197


def test_absent_and_empty_files_are_none(tmp_path: Path):
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    assert read_upright(tmp_path / "empty.nii.gz") is None
    assert read_upright(tmp_path / "absent.nii.gz") is None


def test_volumes_are_turned_upright(tmp_path: Path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    turned = sitk.GetImageFromArray(array)
    turned.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # x to the right, y to the front
    sitk.WriteImage(turned, str(tmp_path / "turned.nii.gz"))
    upright = read_upright(tmp_path / "turned.nii.gz")
    assert upright is not None
    np.testing.assert_array_equal(sitk.GetArrayFromImage(upright), array[:, ::-1, ::-1])
