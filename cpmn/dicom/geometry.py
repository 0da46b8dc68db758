"""Geometry of a stack of slices, from ImagePositionPatient and ImageOrientationPatient alone.

Slice thickness, slice location, instance number and file name are never used: they disagree with the positions
in real scans (overlapping reconstructions, exports, file copies).
"""

import difflib
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.headers import Header
from cpmn.dicom.problem import SeriesProblem

DIRECTION_TOLERANCE = 1e-3  # our choice: direction cosines stored with four decimals still agree
PERPENDICULAR_TOLERANCE = 2e-3  # our choice: 0.11 degrees, which move the rim of 512 pixels by half a pixel
PIXEL_SPACING_TOLERANCE_MM = 1e-4  # our choice: as stored with four decimals
MOST_DEGREES = 35.0  # our choice: gantries tilt up to 30 degrees, reformats stand at 90
AXIAL_COSINE = np.cos(np.deg2rad(MOST_DEGREES))
DRIFT_TOLERANCE_PIXELS = 0.5  # our choice: in-plane drift from first to last slice that no voxel notices
SHIFT_DECIMALS = 3  # in-plane shifts in pixels: positions are stored with about six digits
UNITS = ("hu", "us", "hounsfield", "hounsfieldunits")  # US is 'unspecified'
SPELT_ALIKE = 0.85  # our choice: 'Houndsfield Unit', which the standard itself has given as an example, is taken
LISTED = 8  # positions named in a message


class TagRange(NamedTuple):
    """Range of a tag's `count` numbers, or of their sizes where they may be negative (`signed`)."""

    count: int
    low: float
    high: float
    signed: bool = False

    def holds(self, numbers: tuple[float, ...] | None) -> bool:
        """Whether the numbers lie in the range; what is absent is another's to say."""
        sizes = map(abs, numbers or ()) if self.signed else numbers or ()
        return all(self.low <= size <= self.high for size in sizes)


LIMITS = {
    "PixelSpacing": TagRange(2, 0.05, 30.0),
    "ImagePositionPatient": TagRange(3, 0.0, 100_000.0, signed=True),
    "Rows": TagRange(1, 2, 8192),
    "Columns": TagRange(1, 2, 8192),
    "RescaleSlope": TagRange(1, 1e-6, 10_000.0, signed=True),
    "RescaleIntercept": TagRange(1, 0.0, 1_000_000.0, signed=True),
}
"""Our choice, in mm and HU, wide of what scanners write: what lies beyond is damage, and overflows what is computed."""


@dataclass(frozen=True)
class Geometry:
    """Where the slices of a stack lie, in DICOM's patient coordinates (LPS), in mm.

    Attributes
    ----------
    order : indices of the slices along the slice normal.
    heights : position of each ordered slice along the normal, ascending.
    spacing : voxel spacing (x, y, z); z is the mean gap, or the median gap if `uneven`.
    origin : centre of the first voxel of the first ordered slice.
    direction : 3x3, columns are the directions of the x, y and z index.
    uneven : the slices are not evenly spaced and must be resampled.
    tilt_degrees : gantry tilt; 0 if the slices stand straight above each other.
    shifts : where each ordered slice begins on the grid, in pixels (x, y); empty without tilt. The grid is wide
        enough for all of them.
    """

    order: tuple[int, ...]
    heights: tuple[float, ...]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: np.ndarray
    uneven: bool
    tilt_degrees: float = 0.0
    shifts: tuple[tuple[float, float], ...] = ()

    @property
    def coverage_mm(self) -> float:
        """Distance from the first to the last slice centre."""
        return self.heights[-1] - self.heights[0]

    def every(self, step: int) -> "Geometry":
        """Geometry of every `step`-th slice, as if evenly spaced."""
        x, y, z = self.spacing
        return replace(
            self, heights=self.heights[::step], spacing=(x, y, z * step), shifts=self.shifts[::step], uneven=False
        )


def stack_geometry(headers: list[Header], config: ConvertConfig) -> Geometry:
    """Geometry of slices that form one volume.

    Raises SeriesProblem, with the positions concerned, for missing tags, mixed matrices or orientations, an
    orientation that is not axial, several slices at one position, gantry tilt, and uneven gaps (unless these are
    to be resampled).
    """
    _check_tags(headers)
    _check_same(headers)
    row, column = _directions(headers)
    normal = np.cross(row, column)
    if abs(normal[2]) < AXIAL_COSINE:
        raise SeriesProblem("the slices are not axial", "Give the series of axial slices.")
    positions = np.array([header.numbers("ImagePositionPatient", 3) for header in headers])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    heights, positions = heights[order], positions[order]
    row_mm, column_mm = headers[0].numbers("PixelSpacing", 2) or (0.0, 0.0)  # distance between rows, then columns
    _check_duplicates(heights, config)
    pixels_mm = np.array([column_mm, row_mm])
    drift = _in_plane(positions, row, column) / pixels_mm
    tilt = _tilt(drift, heights, positions, pixels_mm, config)
    start, shifts = _shifts(drift) if tilt else (np.zeros(2), ())
    gaps = np.diff(heights)
    uneven = _is_uneven(heights, config)
    if uneven:
        _check_gaps(heights, gaps, config)
    slice_mm = float(np.median(gaps) if uneven else gaps.mean())
    x, y, z = map(float, positions[0] + start * pixels_mm @ np.array([row, column]))
    return Geometry(
        order=tuple(map(int, order)),
        heights=tuple(map(float, heights)),
        spacing=(column_mm, row_mm, slice_mm),
        origin=(x, y, z),
        direction=np.column_stack([row, column, normal]),
        uneven=uneven,
        tilt_degrees=tilt,
        shifts=shifts,
    )


def _check_tags(headers: list[Header]) -> None:
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1, "Columns": 1}
    needed |= {"RescaleSlope": 1, "RescaleIntercept": 1}
    for header in headers:
        missing = [keyword for keyword, count in needed.items() if header.numbers(keyword, count) is None]
        missing += [name for name, limit in LIMITS.items() if not limit.holds(header.numbers(name, limit.count))]
        if missing:
            raise SeriesProblem(
                f"a slice has no valid {' or '.join(dict.fromkeys(missing))}",
                "Export the series again with these tags: without them geometry or HU are unknown.",
                header.path,
            )
    units = {unit for unit in {header.text("RescaleType") for header in headers} if not _is_hu(unit)}
    if units:
        raise SeriesProblem(f"the values are {', '.join(sorted(units))}, not HU", "Give a series in HU.")


def _is_hu(unit: str) -> bool:
    """Whether a RescaleType means HU, or says nothing, however it is spelt."""
    letters = re.sub("[^a-z]", "", unit.lower())
    return not letters or bool(difflib.get_close_matches(letters, UNITS, cutoff=SPELT_ALIKE))


def _check_same(headers: list[Header]) -> None:
    sizes = Counter(f"{header.text('Columns')}x{header.text('Rows')}" for header in headers)
    if len(sizes) > 1:
        listed = ", ".join(f"{n} of {size}" for size, n in sizes.most_common())
        raise SeriesProblem(f"slices differ in size ({listed})", "Give a series of slices of one size.")
    pixels = np.array([header.numbers("PixelSpacing", 2) for header in headers])
    if np.ptp(pixels, axis=0).max() > PIXEL_SPACING_TOLERANCE_MM:
        low, high = pixels.min(), pixels.max()
        raise SeriesProblem(
            f"pixel spacing differs between slices ({low:g} to {high:g} mm)", "Give a series of one reconstruction."
        )


def _directions(headers: list[Header]) -> tuple[np.ndarray, np.ndarray]:
    cosines = np.array([header.numbers("ImageOrientationPatient", 6) for header in headers])
    if np.ptp(cosines, axis=0).max() > DIRECTION_TOLERANCE:
        kinds = Counter(tuple(row) for row in cosines.round(2).tolist())
        listed = ", ".join(f"{n} slices with {list(kind)}" for kind, n in kinds.most_common(LISTED))
        raise SeriesProblem(f"orientation changes within the series ({listed})", "Split it into its volumes.")
    row, column = cosines[0, :3], cosines[0, 3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    cosine = float(row @ column / np.prod(lengths))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1)) > DIRECTION_TOLERANCE or abs(cosine) > PERPENDICULAR_TOLERANCE:
        raise SeriesProblem(
            f"ImageOrientationPatient is no pair of perpendicular directions ({np.rad2deg(np.arccos(cosine)):.2f} "
            f"degrees between them, lengths {lengths[0]:.4f} and {lengths[1]:.4f})",
            "Export it again.",
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _check_duplicates(heights: np.ndarray, config: ConvertConfig) -> None:
    same = np.diff(heights) <= config.spacing_tolerance_mm / 10
    if not same.any():
        return
    groups = np.split(heights, np.flatnonzero(~same) + 1)
    listed = _listed([f"{group[0]:.2f} mm ({len(group)} slices)" for group in groups if len(group) > 1])
    raise SeriesProblem(
        f"several slices lie at the same position: {listed}",
        "Remove copies, or split the series by acquisition or time point.",
    )


def _in_plane(positions: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Displacement (n, 2) of each slice from the first along its rows and columns, in mm."""
    return (positions - positions[0]) @ np.column_stack([row, column])


def _tilt(
    drift: np.ndarray, heights: np.ndarray, positions: np.ndarray, pixels_mm: np.ndarray, config: ConvertConfig
) -> float:
    """Gantry tilt in degrees, 0 for a drift (n, 2), in pixels, that no voxel notices.

    Raises SeriesProblem if tilt is to be refused, is beyond that of any gantry, or if the slices do not follow one
    straight line.
    """
    if np.abs(drift).max() <= DRIFT_TOLERANCE_PIXELS:
        return 0.0
    steps = heights - heights[0]
    slope = steps @ drift / (steps @ steps)
    off_line = np.abs(drift - np.outer(steps, slope)).max(axis=1)
    if off_line.max() > DRIFT_TOLERANCE_PIXELS:
        raise SeriesProblem(
            f"the slices are displaced sideways, and not along one line: {_out_of_line(off_line, positions)}",
            "Split the series into its reconstructions, or export it again.",
        )
    angle = float(np.rad2deg(np.arctan(np.linalg.norm(slope * pixels_mm))))
    if angle > MOST_DEGREES:
        raise SeriesProblem(
            f"the slices are sheared by {angle:.1f} degrees, and gantries tilt up to 30: their positions are wrong",
            "Export the series again.",
        )
    if config.gantry_tilt == "refuse":
        first, last = (", ".join(f"{value:.1f}" for value in positions[i]) for i in (0, -1))
        raise SeriesProblem(
            f"the slices are sheared: gantry tilt of {angle:.1f} degrees (positions from ({first}) to ({last}) mm)",
            "Give a series without gantry tilt, or set convert.gantry_tilt to 'resample'.",
        )
    return angle


def _out_of_line(off_line: np.ndarray, positions: np.ndarray) -> str:
    found = np.flatnonzero(off_line > DRIFT_TOLERANCE_PIXELS)
    return _listed([f"{off_line[i]:.1f} pixels at ({', '.join(f'{v:.1f}' for v in positions[i])}) mm" for i in found])


def _shifts(drift: np.ndarray) -> tuple[np.ndarray, tuple[tuple[float, float], ...]]:
    """Where the grid starts and each slice on it, in pixels (x, y): at whole pixels, which keeps the first slice."""
    start = np.floor(drift.min(axis=0).round(SHIFT_DECIMALS))
    return start, tuple((float(x), float(y)) for x, y in (drift - start).round(SHIFT_DECIMALS))


def _is_uneven(heights: np.ndarray, config: ConvertConfig) -> bool:
    even = np.linspace(heights[0], heights[-1], len(heights))
    return bool(np.abs(heights - even).max() > config.spacing_tolerance_mm)


def _check_gaps(heights: np.ndarray, gaps: np.ndarray, config: ConvertConfig) -> None:
    median = float(np.median(gaps))
    odd = np.flatnonzero(np.abs(gaps - median) > config.spacing_tolerance_mm)
    odd = odd if odd.size else np.argsort(-np.abs(gaps - median))[:LISTED]
    listed = _listed([f"{gaps[i]:.2f} mm at {heights[i]:.2f} mm" for i in odd])
    problem = f"slice spacing is uneven or slices are missing: median gap {median:.2f} mm, but {listed}"
    if config.uneven_spacing == "refuse":
        raise SeriesProblem(problem, "Export the missing slices, or set convert.uneven_spacing to 'resample'.")
    if gaps.max() > config.maximum_gap_mm:
        raise SeriesProblem(
            f"{problem}; a gap is above convert.maximum_gap_mm ({config.maximum_gap_mm:g} mm)",
            "Export the missing slices: anatomy in such a gap cannot be invented.",
        )


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more
