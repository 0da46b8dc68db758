"""Geometry from positions: what is accepted, and the message for each irregularity."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.geometry import stack_geometry
from cpmn.dicom.headers import Header, read_file_set
from cpmn.dicom.pixels import read_volume
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.regrid import grid_voxels, on_grid, resample_slices, unshear_slices

CONFIG = ConvertConfig()


def geometry(folder, **config):
    return stack_geometry(read_file_set(folder).headers, ConvertConfig(**config))


def problem(folder, **config) -> str:
    with pytest.raises(SeriesProblem) as caught:
        geometry(folder, **config)
    return str(caught.value)


def test_positions_rounded_by_the_scanner_are_even(write_series):
    exact = np.arange(40) * 1.25
    found = geometry(write_series(z=np.round(exact, 1)))
    assert found.spacing[2] == pytest.approx(1.25, abs=0.003)
    assert not found.uneven


def test_oblique_slices_are_spaced_along_their_normal(write_series):
    tilt = np.deg2rad(10)
    cosines = [1, 0, 0, 0, np.cos(tilt), -np.sin(tilt)]
    normal = np.cross(cosines[:3], cosines[3:])
    each = [{"ImagePositionPatient": list(np.round(normal * 3.0 * i, 6))} for i in range(12)]
    found = geometry(write_series(ImageOrientationPatient=cosines, each=lambda index: each[index]))
    assert found.spacing[2] == pytest.approx(3.0, abs=1e-4)
    assert np.allclose(found.direction[:, 2], normal)
    assert np.allclose(found.direction.T @ found.direction, np.eye(3))


TILTED = [1, 0, 0, 0, np.cos(np.deg2rad(12.5)), -np.sin(np.deg2rad(12.5))]


def test_gantry_tilt_can_be_refused_with_its_angle(write_series):
    text = problem(write_series(ImageOrientationPatient=TILTED), gantry_tilt="refuse")
    assert "gantry tilt of 12.5 degrees" in text
    assert "(-10.0, -20.0, -30.0)" in text


def test_tilted_slices_get_a_grid_that_holds_them_all(write_series):
    found = geometry(write_series(ImageOrientationPatient=TILTED))
    assert found.tilt_degrees == pytest.approx(12.5, abs=0.01)
    assert found.spacing[2] == pytest.approx(2.5 * np.cos(np.deg2rad(12.5)))
    assert np.allclose(found.direction.T @ found.direction, np.eye(3))
    shifts = np.array(found.shifts)
    assert shifts.min() == 0
    for index in range(12):  # where the grid puts each slice is where its position says
        steps = [*(shifts[index] * found.spacing[:2]), index * found.spacing[2]]
        assert found.direction @ steps + found.origin == pytest.approx([-10, -20, -30 + 2.5 * index], abs=1e-3)


def sheared(mm: float):
    """Slices 2.5 mm apart, each `mm` further along its rows."""
    return lambda index: {"ImagePositionPatient": [mm * index, 0.0, 2.5 * index]}


@pytest.mark.parametrize("gantry_tilt", ["refuse", "resample"])
def test_shear_beyond_that_of_any_gantry_is_refused(write_series, gantry_tilt):
    assert "sheared by 45.0 degrees" in problem(write_series(each=sheared(2.5)), gantry_tilt=gantry_tilt)


def test_voxels_are_counted_with_the_shifts_of_the_slices(write_series):
    found = geometry(write_series(z=range(6), each=sheared(1.2)))
    assert found.shifts[-1] == (7.5, 0.0)  # pixels of 0.8 mm
    assert grid_voxels((6, 6, 8), found) == 6 * 6 * (8 + 8) == on_grid(np.zeros((6, 6, 8), np.int16), found).size


def test_voxels_are_counted_with_the_layers_between_uneven_slices(write_series):
    found = geometry(write_series(z=[0, 3, 6, 15, 18, 27, 30]), uneven_spacing="resample")
    assert grid_voxels((7, 6, 8), found) == 11 * 6 * 8 == on_grid(np.zeros((7, 6, 8), np.int16), found).size


def test_a_grid_beyond_measure_is_refused_though_its_slices_are_few(write_series, monkeypatch):
    headers = read_file_set(write_series(z=range(6), each=sheared(1.2))).headers
    found = stack_geometry(headers, CONFIG)
    monkeypatch.setattr("cpmn.dicom.pixels.LARGEST_VOXELS", 6 * 6 * 16)
    assert read_volume([headers[i] for i in found.order], found).hu.shape == (6, 6, 16)
    monkeypatch.setattr("cpmn.dicom.pixels.LARGEST_VOXELS", 6 * 6 * 16 - 1)
    with pytest.raises(SeriesProblem, match="6 slices of 8 x 6 pixels need more than 575 voxels"):
        read_volume([headers[i] for i in found.order], found)


@pytest.mark.parametrize("across", [0.0, 1.4, -2.1])  # pixels of 0.7 mm
@pytest.mark.parametrize("along", [0.0, 0.8, -1.6])
def test_whole_shifts_keep_every_pixel_in_its_place(write_series, tmp_path, along, across):
    each = [{"ImagePositionPatient": [along * i - 10, across * i - 20, 4.0 * i]} for i in range(4)]
    headers = read_file_set(write_series(z=range(4), each=lambda index: each[index])).headers
    found = stack_geometry(headers, CONFIG)
    volume = read_volume([headers[i] for i in found.order], found).hu
    plain = read_file_set(write_series("plain", z=range(4))).headers
    straight = geometry(tmp_path / "plain")
    expected = read_volume([plain[i] for i in straight.order], straight).hu
    for index, slice_hu in enumerate(volume):
        corner = np.array(each[index]["ImagePositionPatient"]) - found.origin
        x, y = (round(float(mm / s)) for mm, s in zip(corner[:2], found.spacing, strict=False))
        assert np.array_equal(slice_hu[y : y + 6, x : x + 8], expected[index])
        assert (slice_hu == -1024).sum() >= slice_hu.size - 48


def test_fractional_shifts_interpolate():
    hu = np.array([[[0, 100, 200]], [[0, 100, 200]]], np.int16)
    assert unshear_slices(hu, ((0.0, 0.0), (0.25, 0.0)))[1, 0].tolist() == [-256, 75, 175, -718]


def test_missing_slice_is_refused_with_its_place(write_series):
    text = problem(write_series(z=[0, 3, 6, 12, 15, 18, 21]))
    assert "median gap 3.00 mm, but 6.00 mm at 6.00 mm" in text
    assert "convert.uneven_spacing" in text


def test_a_large_gap_is_not_bridged(write_series):
    heights = [0, 3, 6, 18, 21, 24, 27]
    assert "above convert.maximum_gap_mm (10 mm)" in problem(write_series(z=heights), uneven_spacing="resample")
    assert geometry(write_series("b", z=heights), uneven_spacing="resample", maximum_gap_mm=12).uneven


def test_duplicate_positions_are_listed(write_series):
    text = problem(write_series(z=[0, 2, 2, 4, 6, 6, 6, 8]))
    assert "several slices lie at the same position: 2.00 mm (2 slices), 6.00 mm (3 slices)" in text


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing", "RescaleIntercept"])
def test_missing_tag(write_series, keyword):
    assert f"a slice has no valid {keyword}" in problem(write_series(**{keyword: None}))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("ImagePositionPatient", [0, 0, float("nan")]), ("PixelSpacing", [0, 0.7]), ("RescaleSlope", float("inf"))],
)
def test_numbers_that_are_none_are_refused(write_series, keyword, value):
    assert f"a slice has no valid {keyword}" in problem(write_series(**{keyword: value}))


def test_a_tag_with_an_empty_component_is_no_number():
    tags = {"PixelSpacing": ["0.7", ""], "ImagePositionPatient": ["1", "2", "x"], "RescaleSlope": "nan"}
    header = Header(Path("slice"), tags)
    assert [header.numbers(name, count) for name, count in zip(tags, (2, 3, 1), strict=True)] == [None, None, None]
    assert Header(Path("slice"), {"PixelSpacing": ["0.7", "0.8"]}).numbers("PixelSpacing", 2) == (0.7, 0.8)


def test_skewed_cosines(write_series):
    assert "perpendicular" in problem(write_series(ImageOrientationPatient=[1, 0, 0, 0.1, 0.995, 0]))


def test_a_tenth_of_a_degree_of_shear_is_taken_off(write_series):
    lean = np.deg2rad(0.1)
    found = geometry(write_series(ImageOrientationPatient=[1, 0, 0, np.sin(lean), np.cos(lean), 0]))
    assert np.allclose(found.direction.T @ found.direction, np.eye(3), atol=1e-12)


# Written so in DICOM's own examples (innolitics/dicom-standard issue 73), with blanks, and by hand
@pytest.mark.parametrize("unit", ["HU", "hu ", "H.U.", "Houndsfield Unit", "Hounsfield units (HU)", "Hounsfeild", "US"])
def test_hounsfield_units_are_known_however_they_are_spelt(write_series, unit):
    assert geometry(write_series(RescaleType=unit)).spacing[2] == 2.5


@pytest.mark.parametrize("unit", ["HU_MOD", "ED", "Z_EFF", "MGML", "PCT", "IU", "normalized"])
def test_other_units_are_refused(write_series, unit):
    assert f"the values are {unit}, not HU" in problem(write_series(RescaleType=unit))


@settings(max_examples=50, deadline=None)
@given(gaps=st.lists(st.floats(0.5, 5.0), min_size=2, max_size=12), step=st.floats(0.4, 3.0))
def test_resampling_keeps_a_ramp(gaps, step):
    """Linear interpolation reproduces a linear function of height, up to rounding to whole HU."""
    heights = np.concatenate([[7.0], 7.0 + np.cumsum(gaps)])
    hu = np.rint(10 * heights)[:, None, None] * np.ones((1, 2, 2))
    result = resample_slices(hu.astype(np.int16), heights, step)
    wanted = 10 * (7.0 + step * np.arange(len(result)))
    assert np.abs(result[:, 0, 0] - wanted).max() <= 1.0
    assert 7.0 + step * (len(result) - 1) <= heights[-1] + 1e-4
    assert 7.0 + step * len(result) > heights[-1] - 1e-4
