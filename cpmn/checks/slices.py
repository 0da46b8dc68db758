"""Whether neighbouring slices show one body at one moment, by the image alone."""

from itertools import pairwise

import numpy as np
import SimpleITK as sitk

from cpmn.checks.extent import large_enough
from cpmn.checks.finding import Finding, doubtful, failed, passed
from cpmn.volume.images import AIR_HU

LOOK_MM = 4.0  # ours: in-plane resolution at which slices are compared; noise is averaged away
SEEN_HU = (-1000.0, 200.0)  # ours: air to soft tissue; bone and metal would outweigh lung and heart
FEWEST_SLICES = 12  # ours: fewer give no typical difference
NEIGHBOURS = 2  # slices on either side of a gap that it is compared with
PIECE_MM = 32.0  # ours: pieces of a slice in which a gap is compared with those beside it
PIECE_HU = 8.0  # ours: pieces that change by less across a gap and those beside it hold noise alone
FEWEST_PIECES = 6  # ours: fewer say nothing of a body

ALTERNATING_REFUSED, ALTERNATING_DOUBTFUL = 1.1, 1.35
JUMP_DOUBTFUL = 1.15
LEVEL_REFUSED_HU, LEVEL_DOUBTFUL_HU = 40.0, 20.0
TISSUE_HU = (-200.0, 200.0)  # fat to unenhanced organs
FEWEST_TISSUE = 100  # ours: pieces of `LOOK_MM`, below which a slice shows too little of a body
BLANK_HU = -900.0  # ours: a slice without anything denser shows nothing, whatever its scale
SMALLEST_STEP_HU = 2.0  # ours: slices that differ by less show no body; chests differ by 6 HU and more
REMEDY = "Look at it in a viewer; give the series of one breath-hold, or name it."


def slices_agree(image: sitk.Image) -> list[Finding]:
    """Findings of `slices` for a scan in HU (any axes, slices along z): alternation, and single jumps.

    Slices of two breath-holds that interleave resemble the next but one more than their neighbours; where one
    acquisition was put upon another, one gap differs far more than those around it, and in most pieces of the slice. A
    mean over the whole slice does not show that: the dome of the liver outweighs all else, so that a stack passes, and
    the flat face of an effusion alone looks like one. Ours.

    Limits by seven real scans and 124 phantom scans: the ratio of the differences over two gaps and over one is 1.6 to
    1.9 in them and 0.4 to 1.2 with a second breath of 12 to 20 mm between the slices (up to 1.55 where slices are 8 mm
    thick). The jump is a fifth above the largest of 94 phantom scans (0.96). In 1,000 scans, of 500 phantom pairs, the
    ratio is at least 1.48 and the jump at most 1.08; in 156 of other seeds and the seven real ones it is at most 0.96.
    What it sees, and misses where slices are thick, stands in docs/reference/convert.md.
    """
    if image.GetSize()[2] < FEWEST_SLICES or not large_enough(image, "xy"):
        return []
    slices, in_plane_mm = coarse_slices(image)
    near, far = (np.abs(slices[step:] - slices[:-step]).mean((1, 2)) for step in (1, 2))
    if np.median(near) < SMALLEST_STEP_HU:
        return []
    alternation = float(np.median(far) / np.median(near))
    if alternation < ALTERNATING_DOUBTFUL:
        seen = (
            "slices differ from their neighbours more than those of one breath-hold (differences over two gaps are "
            f"{alternation:.2f} times those over one, 1.5 and more in one breath-hold): two acquisitions may interleave"
        )
        return [(failed if alternation < ALTERNATING_REFUSED else doubtful)("slices", seen, REMEDY)]
    jump, place = largest_jump(slices, in_plane_mm)
    if jump > JUMP_DOUBTFUL:
        seen = (
            f"the step from slice {place + 1} to {place + 2} (from the feet) is in half of the slice {jump:.1f} times "
            "as large as those beside it (1.1 at most in one breath-hold): two acquisitions may be stacked, or the "
            "patient moved"
        )
        return [doubtful("slices", seen, REMEDY)]
    return [passed("slices", f"alternation {alternation:.2f}, largest jump {jump:.2f}")]


def levels_agree(image: sitk.Image) -> list[Finding]:
    """Findings of `level` for a scan in HU (any axes, slices along z): a slice that another scale was applied to.

    The tissue of neighbouring slices is the same for the most part, so that the median change of what is fat or organ
    in either of them is near 0 HU. Limits by 110 phantom scans (at most 4.2 HU), six real ones (3 to 7 HU at slices up
    to 5 mm, 10 at 8 mm, 11 beside opacified arteries); an intercept of -1000 instead of -1024 is 24 HU. Ours.
    """
    if image.GetSize()[2] < 2 or not large_enough(image, "xy"):
        return []
    slices, _ = coarse_slices(image, (AIR_HU, 3000.0))
    steps = np.array([_level_step(*pair) for pair in pairwise(slices)])
    place = int(np.abs(steps).argmax())
    seen = f"tissue changes by {steps[place]:+.0f} HU from slice {place + 1} to {place + 2} (from the feet)"
    if abs(steps[place]) < LEVEL_DOUBTFUL_HU:
        return [passed("level", seen)]
    seen += f", by less than {LEVEL_DOUBTFUL_HU:g} HU in a scan of one scale: a slope or intercept may be wrong"
    refused = abs(steps[place]) >= LEVEL_REFUSED_HU
    return [(failed if refused else doubtful)("level", seen, "Export the series again.")]


def _level_step(below: np.ndarray, above: np.ndarray) -> float:
    """Median change in HU of what is tissue in either of two slices (y, x); 0 where there is little of it, or where one
    of them is blank, as padding at an end is."""
    if max(below.max(), above.max()) > BLANK_HU >= min(below.max(), above.max()):
        return 0.0
    tissue = _is_tissue(below) | _is_tissue(above)
    return float(np.median((above - below)[tissue])) if np.count_nonzero(tissue) >= FEWEST_TISSUE else 0.0


def _is_tissue(hu: np.ndarray) -> np.ndarray:
    return (hu > TISSUE_HU[0]) & (hu < TISSUE_HU[1])


def coarse_slices(image: sitk.Image, seen_hu: tuple[float, float] = SEEN_HU) -> tuple[np.ndarray, tuple[float, float]]:
    """Slices (z, y, x) of about `LOOK_MM` in-plane, clipped to `seen_hu`, and their spacing along y and x in mm."""
    factors = [max(1, round(LOOK_MM / spacing)) for spacing in image.GetSpacing()[:2]]
    clipped = sitk.Clamp(sitk.Cast(image, sitk.sitkFloat32), sitk.sitkFloat32, *seen_hu)
    coarse = sitk.BinShrink(clipped, [*factors, 1])
    return sitk.GetArrayFromImage(coarse), (coarse.GetSpacing()[1], coarse.GetSpacing()[0])


def largest_jump(slices: np.ndarray, in_plane_mm: tuple[float, float]) -> tuple[float, int]:
    """Largest jump over a gap of slices (z, y, x), and which gap; the ends of the scan have too few neighbours.

    The jump over a gap is the median, over the pieces of a slice, of the piece's difference over that gap divided by
    the largest over the gaps beside it. `in_plane_mm` is the spacing along y and x.
    """
    steps = _pieces(np.abs(slices[1:] - slices[:-1]), [max(1, round(PIECE_MM / mm)) for mm in in_plane_mm])
    return max(((_jump(steps, gap), gap) for gap in range(1, len(steps) - 1)), default=(0.0, 0))


def _jump(steps: np.ndarray, gap: int) -> float:
    beside = np.r_[steps[max(0, gap - NEIGHBOURS) : gap], steps[gap + 1 : gap + 1 + NEIGHBOURS]].max(axis=0)
    told = np.maximum(beside, steps[gap]) > PIECE_HU
    if told.sum() < FEWEST_PIECES:
        return 0.0
    return float(np.median(steps[gap][told] / np.maximum(beside[told], PIECE_HU / 2)))


def _pieces(slices: np.ndarray, size: list[int]) -> np.ndarray:
    """Means (z, piece) over pieces of `size` (y, x) pixels; what is left over at two edges is left out."""
    rows, columns = (n // k for n, k in zip(slices.shape[1:], size, strict=True))
    whole = slices[:, : rows * size[0], : columns * size[1]]
    return whole.reshape(len(slices), rows, size[0], columns, size[1]).mean((2, 4)).reshape(len(slices), -1)
