"""Slices, outlines and pictures: known answers."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.image import imread

from cpmn.report.pictures import cam_picture, file_picture, grey_picture, largest_part, outline, read_upright

PREFIX = "data:image/webp;base64,"


def decoded(uri: str) -> np.ndarray:
    """Pixels (y, x, channel; 0-255) of a data URI."""
    assert uri.startswith(PREFIX)
    return np.asarray(imread(io.BytesIO(base64.b64decode(uri[len(PREFIX) :])), format="webp"))


def edges(path: str) -> set[tuple[int, int, str]]:
    """Unit edges (x, y, direction) that an outline draws."""
    found: set[tuple[int, int, str]] = set()
    for part in path.split("M")[1:]:
        direction = "h" if "h" in part else "v"
        start, length = part.split(direction)
        x, y = map(int, start.split())
        for step in range(int(length)):
            edge = (x + step, y, "h") if direction == "h" else (x, y + step, "v")
            assert edge not in found
            found.add(edge)
    return found


def test_outline_of_one_voxel():
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 2] = True
    assert outline(mask) == "M2 1h1M2 2h1M2 1v1M3 1v1"


def test_outline_of_nothing():
    assert outline(np.zeros((3, 4), dtype=bool)) == ""


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_outline_is_every_edge_between_in_and_out(mask: np.ndarray):
    padded = np.pad(mask, 1)
    expected = {
        (x - 1, y, "h")
        for y in range(padded.shape[0] - 1)
        for x in range(padded.shape[1])
        if padded[y, x] != padded[y + 1, x]
    } | {
        (x, y - 1, "v")
        for y in range(padded.shape[0])
        for x in range(padded.shape[1] - 1)
        if padded[y, x] != padded[y, x + 1]
    }
    assert edges(outline(mask)) == expected


def test_grey_scale_is_centre_and_width():
    pixels = np.repeat([[-35.0, 45.0, 125.0, 3000.0]], 8, axis=0).repeat(8, axis=1)
    shown = decoded(grey_picture(pixels, center=45, width=160))
    assert shown.shape[:2] == (8, 32)
    np.testing.assert_allclose(shown[4, [4, 12, 20, 28], 0], [0, 128, 255, 255], atol=4)


def test_large_slices_are_shrunk():
    assert decoded(grey_picture(np.zeros((600, 1024)), center=0, width=1)).shape[:2] == (300, 512)


def test_class_activation_is_transparent_where_it_is_zero():
    cam = np.zeros((16, 16))
    cam[:8] = 1
    layer = decoded(cam_picture(cam))
    assert layer[12, 8, 3] <= 2
    assert layer[3, 8, 3] == pytest.approx(0.65 * 255, abs=3)


def test_largest_part_by_area_diagonals_connected():
    mask = np.zeros((6, 8), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[2, 2] = True
    mask[4, 5:7] = True
    assert largest_part(mask).sum() == 3
    assert largest_part(mask)[1, 1]


def test_absent_and_empty_files_are_none(tmp_path: Path):
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("empty.png", "absent.png"):
        assert file_picture(tmp_path / name) is None
        assert read_upright(tmp_path / name) is None


def test_volumes_are_turned_upright(tmp_path: Path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    turned = sitk.GetImageFromArray(array)
    turned.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # x to the right, y to the front
    sitk.WriteImage(turned, str(tmp_path / "turned.nii.gz"))
    upright = read_upright(tmp_path / "turned.nii.gz")
    assert upright is not None
    np.testing.assert_array_equal(sitk.GetArrayFromImage(upright), array[:, ::-1, ::-1])
