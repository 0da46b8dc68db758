"""Slices, outlines and pictures: known answers."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cpmn.report.pictures import cam_picture, file_picture, grey_picture, largest_part, outline_path

PREFIX = "data:image/webp;base64,"


def decoded(uri: str) -> np.ndarray:
    """Pixels (y, x, channel; 0-255) of a data URI."""
    assert uri.startswith(PREFIX)
    return np.asarray(imread(io.BytesIO(base64.b64decode(uri[len(PREFIX) :])), format="webp"))


def test_outline_of_one_voxel():
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 2] = True
    assert outline_path(mask) == "M2 1h1M2 2h1M2 1v1M3 1v1"


def test_outline_of_nothing():
    assert outline_path(np.zeros((3, 4), dtype=bool)) == ""


def test_grey_scale_is_centre_and_width():
    pixels = np.repeat([[-35.0, 45.0, 125.0, 3000.0]], 8, axis=0).repeat(8, axis=1)
    shown = decoded(grey_picture(pixels, (-35, 125)))
    assert shown.shape[:2] == (8, 32)
    np.testing.assert_allclose(shown[4, [4, 12, 20, 28], 0], [0, 128, 255, 255], atol=4)


def test_large_slices_are_shrunk():
    assert decoded(grey_picture(np.zeros((600, 1024)), (0, 1))).shape[:2] == (300, 512)


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
