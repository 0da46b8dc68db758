"""Whether neighbouring slices show one body at one moment, by the image alone."""

import numpy as np
import SimpleITK as sitk

from cpmn.checks.extent import large_enough
from cpmn.checks.finding import Finding, doubtful, failed, passed

LOOK_MM = 4.0  # ours: in-plane resolution at which slices are compared; noise is averaged away
SEEN_HU = (-1000.0, 200.0)  # ours: air to soft tissue; bone and metal would outweigh lung and heart
FEWEST_SLICES = 12  # ours: fewer give no typical difference
NEIGHBOURS = 2  # slices on either side of a gap that it is compared with

ALTERNATING_REFUSED, ALTERNATING_DOUBTFUL = 1.1, 1.35
JUMP_DOUBTFUL = 1.8
SMALLEST_STEP_HU = 2.0  # ours: slices that differ by less show no body; chests differ by 6 HU and more
REMEDY = "Look at it in a viewer; give the series of one breath-hold, or name it."


def slices_agree(image: sitk.Image) -> list[Finding]:
    """Findings of `slices` for a scan in HU (any axes, slices along z): alternation, and single jumps.

    Slices of two breath-holds that interleave resemble the next but one more than their neighbours; where one
    acquisition was put upon another, one gap differs far more than those around it. Ours. Limits by seven real scans
    and 124 phantom scans: the ratio of the differences over two gaps and over one is 1.6 to 1.9 in them and 0.4 to 1.2
    with a second breath of 12 to 20 mm between the slices (up to 1.55 where slices are 8 mm thick); the largest gap is
    1.0 to 1.7 times its neighbours (104 phantom scans with movement and streaks; at most 1.3 in 20 others and in real
    scans), and 1.6 to 2.5 with a lower third of another breath of 30 mm: of such a stack two of three are seen.
    """
    if image.GetSize()[2] < FEWEST_SLICES or not large_enough(image, "xy"):
        return []
    slices = _coarse(image)
    near, far = (np.abs(slices[step:] - slices[:-step]).mean((1, 2)) for step in (1, 2))
    if np.median(near) < SMALLEST_STEP_HU:
        return []
    alternation = float(np.median(far) / np.median(near))
    if alternation < ALTERNATING_DOUBTFUL:
        seen = (
            "slices differ from their neighbours more than those of one breath-hold (differences over two gaps are "
            f"{alternation:.2f} times those over one, 1.6 and more in one breath-hold): two acquisitions may interleave"
        )
        return [(failed if alternation < ALTERNATING_REFUSED else doubtful)("slices", seen, REMEDY)]
    jump, place = _largest_jump(near)
    if jump > JUMP_DOUBTFUL:
        seen = (
            f"the step from slice {place + 1} to {place + 2} (from the feet) is {jump:.1f} times as large as those "
            "beside it (1.7 at most in one breath-hold): two acquisitions may be stacked, or the patient moved"
        )
        return [doubtful("slices", seen, REMEDY)]
    return [passed("slices", f"alternation {alternation:.2f}, largest jump {jump:.2f}")]


def _coarse(image: sitk.Image) -> np.ndarray:
    """Slices (z, y, x) of about `LOOK_MM` in-plane, clipped to `SEEN_HU`."""
    factors = [max(1, round(LOOK_MM / spacing)) for spacing in image.GetSpacing()[:2]]
    clipped = sitk.Clamp(sitk.Cast(image, sitk.sitkFloat32), sitk.sitkFloat32, *SEEN_HU)
    return sitk.GetArrayFromImage(sitk.BinShrink(clipped, [*factors, 1]))


def _largest_jump(steps: np.ndarray) -> tuple[float, int]:
    """Largest ratio of a step to the largest of its neighbours, and where; the ends of the scan have too few."""
    inner = range(1, len(steps) - 1)
    beside = [np.r_[steps[max(0, i - NEIGHBOURS) : i], steps[i + 1 : i + 1 + NEIGHBOURS]].max() for i in inner]
    ratios = steps[1:-1] / np.maximum(beside, 1.0)
    place = int(ratios.argmax())
    return float(ratios[place]), place + 1
