"""Whether an image holds Hounsfield units, states its geometry, and shows a body that stands as its axes say.

What an image cannot answer is not asked: a small field of view gives no finding.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.anatomy.blood import averaged
from cpmn.checks.body import check_body
from cpmn.checks.extent import large_enough
from cpmn.checks.finding import Finding, failed, passed

STEP_HU = 4.0  # bins of the histogram
SMOOTHING_BINS = 3.0  # standard deviation: a peak of tissue is 40 HU wide, also in noise once averaged to 4 mm
SOFT_RANGE_HU = (-400.0, 400.0)  # peaks of fat, muscle and enhanced blood lie within
PEAK_SHARE = 0.03  # least prominence of a peak, of the highest
BRIGHT_SHARE = 0.4  # most of what is no lung lies below 400 HU: of real scans 99 %, of a contrast crop 80 %
TALL_SHARE = 0.3  # height from which a peak in a place where no tissue has one is none of blood or diseased lung
FAT_HU = (-150.0, -40.0)
MUSCLE_HU = (10.0, 120.0)
DARK_PERCENTILE = 0.5  # of all voxels: air around the body, in the trachea, or in the lungs
AIR_HU = -850.0  # that percentile is darker
HU_REMEDY = "Give the CT in Hounsfield units (air -1000, water 0), or its DICOM series."

DEFAULT_REMEDY = "Give the series, or the file as it was before its geometry was lost."


def check_image(image: sitk.Image, facts: Mapping[str, Any]) -> list[Finding]:
    """All findings of a converted scan.

    image : CT in HU, ordered LPS (x to the left, y to the back, z to the head), as `cpmn.dicom.scan.read_scan` gives
        it.
    facts : of the same; `source` says whether it comes from DICOM.
    """
    findings = [] if facts["source"] == "dicom" else [check_stated_geometry(image)]
    if large_enough(image):
        hu = averaged(image)
        findings.append(check_hounsfield(hu))
        findings += check_body(image, hu)
    return findings


def check_stated_geometry(image: sitk.Image) -> Finding:
    """Whether an image file's geometry is more than the default of 1 mm voxels that begin at the origin.

    That default is what a program writes that knows no geometry; real voxels of 1 mm do not begin at exactly 0.
    """
    corners = product(*((0, n - 1) for n in image.GetSize()))
    at_zero = any(not np.any(image.TransformIndexToPhysicalPoint(corner)) for corner in corners)
    if at_zero and image.GetSpacing() == (1.0, 1.0, 1.0):
        return failed(
            "geometry",
            "voxels of exactly 1 x 1 x 1 mm, the first at exactly (0, 0, 0): this is what files hold that were written "
            "without their geometry",
            DEFAULT_REMEDY,
        )
    return passed("geometry")


def check_hounsfield(hu: np.ndarray) -> Finding:
    """Whether air, fat and muscle have the values that they have in HU; `hu` as of `averaged`."""
    dark = float(np.percentile(hu, DARK_PERCENTILE))
    peaks = _tissue_peaks(hu)
    tissue = any(low <= peak <= high for peak in peaks for low, high in (FAT_HU, MUSCLE_HU))
    stray = any(height >= TALL_SHARE and not _is_tissue(peak) for peak, height in peaks.items())
    found = ", ".join(f"{peak:.0f} HU" for peak in peaks) or "none"
    seen = f"the darkest {DARK_PERCENTILE:g} % of the image lie below {dark:.0f} HU, its tissues have peaks at {found}"
    bright = np.count_nonzero(hu > SOFT_RANGE_HU[1]) > BRIGHT_SHARE * np.count_nonzero(hu > SOFT_RANGE_HU[0])
    if dark > AIR_HU or not tissue or stray or bright:
        expected = f"air is expected below {AIR_HU:g}, fat from {FAT_HU[0]:g} to {FAT_HU[1]:g}, muscle from "
        expected += f"{MUSCLE_HU[0]:g} to {MUSCLE_HU[1]:g} HU"
        return failed("hounsfield", f"the values are no Hounsfield units: {seen}; {expected}", HU_REMEDY)
    return passed("hounsfield", seen)


def _tissue_peaks(hu: np.ndarray) -> dict[float, float]:
    """HU of the peaks of soft tissues, in their order, with their heights as shares of the highest."""
    edges = np.arange(*SOFT_RANGE_HU, STEP_HU)
    counts, _ = np.histogram(hu, edges)
    smooth = ndimage.gaussian_filter1d(counts.astype(float), SMOOTHING_BINS)
    highest = max(float(smooth.max()), 1e-9)
    return {
        float(edges[peak] + STEP_HU / 2): float(smooth[peak] / highest)
        for peak in find_peaks(smooth, PEAK_SHARE * highest)
    }


def find_peaks(values: np.ndarray, prominence: float) -> list[int]:
    """Indices of the inner maxima of `values` that rise by `prominence` at least, of flat ones the middle.

    As `scipy.signal.find_peaks`, with which the tests compare it. That takes 0.3 processor seconds to load, in each job
    of `convert` as much as a third of all that it loads.
    """
    starts = np.flatnonzero(np.diff(values, prepend=np.nan))
    ends, heights = np.append(starts[1:], len(values)) - 1, values[starts]
    tops = 1 + np.flatnonzero((heights[1:-1] > heights[:-2]) & (heights[1:-1] > heights[2:]))
    bases = [max(_lowest_on_the_way_up(heights[top::-1]), _lowest_on_the_way_up(heights[top:])) for top in tops]
    return [
        int(starts[top] + ends[top]) // 2
        for top, base in zip(tops, bases, strict=True)
        if heights[top] - base >= prominence
    ]


def _lowest_on_the_way_up(heights: np.ndarray) -> float:
    """The lowest from the first to what is higher than it, or to the end."""
    higher = np.flatnonzero(heights > heights[0])
    return float(heights[: higher[0] if len(higher) else None].min())


def _is_tissue(hu: float) -> bool:
    """Whether a tall peak may lie there: fat, muscle, or blood with contrast medium."""
    return FAT_HU[0] <= hu <= FAT_HU[1] or hu >= MUSCLE_HU[0]
