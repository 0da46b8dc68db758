"""Whether a chest stands as its image's axes say: spine behind, head up, liver right, heart left, lungs of human size.

A file may say what it likes of its axes; the body cannot. All rules are ours, each made of what shows with contrast
medium and without, on real chests and phantoms and each of them mirrored along each axis.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.anatomy.blood import LOOK_MM, averaged, look_factors
from cpmn.anatomy.lungbox import touched_sides
from cpmn.anatomy.lungs import between_lungs, segment_lungs
from cpmn.checks.finding import Finding, doubtful, passed
from cpmn.errors import CpmnError

BONE_HU = 200.0
SPINE_MM = 50.0  # to both sides of the middle: the spine is within
VERTEBRA_MM = 20.0  # half the width of a vertebra
UPRIGHT_SPINE = 0.55  # share of what a turned spine has: upright ones have 1.6 and more, half a chest 0.66, turned 0.47
FACE = 0.2  # of the lungs' extent: what lies behind it, on each of their six faces
SPINE_AGAINST = 1.2  # times the bone of the back on another face is the spine; an enhanced heart has as much as 1.02
BEHIND = 0.4  # share of bone on the back, of back and front: less is in front
UPRIGHT = 0.15  # of the lungs' height, see `Body.head_up`
TRACHEA_ML = 2.0  # of air between the lungs: less is too little to say where it lies
MIRRORED_MM = -8.0  # see `_check_sides`
LIVER_HU = (20.0, 150.0)  # soft tissue, without the blood of the heart where contrast medium is in it
LIVER_RADIUS_MM = 10.0  # what is thicker than twice that is liver, spleen or heart
HEART_MM = 230.0  # weight of the lungs' asymmetry against the liver's distance
LUNGS_ML = 11000.0  # more is no human's
LUNGS_WIDTH_MM = 400.0
LUNGS_HEIGHT = (0.4, 1.6)  # of their width
LUNGS_LEAST_ML = 300.0  # fewer do not show how the body stands
POSE_REMEDY = "Look at it: if it stands wrongly, correct its orientation, or give the DICOM series."


def check_body(image: sitk.Image, hu: np.ndarray) -> list[Finding]:
    """Whether lungs, spine, head, liver and heart lie where the axes say; no finding without lungs.

    image : CT in HU, ordered LPS; `hu` the same as `averaged` makes it.

    Where the image cuts the lungs at a side, as where it shows one alone, what lies between them is not asked; nor are
    sides of a body that stands wrongly otherwise.
    """
    try:
        lungs = segment_lungs(image, spacing_mm=LOOK_MM, minimum_ml=LUNGS_LEAST_ML)
    except CpmnError:
        return []
    body = Body(image, hu, lungs)
    findings = [_check_lungs(body), _check_spine(body)]
    if body.cut_at_a_side:
        return findings
    if body.head_up is not None:
        findings.append(_check_head(body.head_up))
    if all(finding.outcome == "passed" for finding in findings):
        findings.append(_check_sides(body))
    return findings


@dataclass
class Body:
    """A chest and its lungs on voxels of about 4 mm, axes (z, y, x) to head, back and left."""

    image: sitk.Image
    hu: np.ndarray
    mask: sitk.Image

    def __post_init__(self):
        self.spacing = (np.array(self.image.GetSpacing()) * look_factors(self.image))[::-1]
        self.lungs = averaged(self.mask) > 0.5
        self.cut = touched_sides(self.mask)
        self.cut_at_a_side = bool({"left", "right"} & set(self.cut))
        self.box = ndimage.find_objects(self.lungs.astype(np.uint8))[0]
        self.extent_mm = np.array([side.stop - side.start for side in self.box]) * self.spacing
        self.lungs_ml = float(self.lungs.sum() * np.prod(self.spacing) / 1000)

    @cached_property
    def bone(self) -> np.ndarray:
        """Bone in the box of the lungs."""
        return self.hu[self.box] > BONE_HU

    def middle(self, axis: int, mm: float) -> tuple[slice, ...]:
        """Index of the middle of the lungs' box along an axis, `mm` to both sides."""
        size, reach = self.bone.shape[axis], round(mm / self.spacing[axis])
        index = [slice(None)] * 3
        index[axis] = slice(max(0, size // 2 - reach), size // 2 + reach + 1)
        return tuple(index)

    @cached_property
    def bone_at(self) -> dict[str, int]:
        """Voxels of bone in the middle of each of the six outer fifths of the lungs' box, by the side of the body."""
        counts = {}
        for axis, (low, high) in enumerate((("feet", "head"), ("front", "back"), ("right", "left"))):
            depth = max(1, round(FACE * self.bone.shape[axis]))
            ends = self.bone[self.middle(2 if axis < 2 else 1, SPINE_MM)].swapaxes(0, axis)
            counts |= {low: int(ends[:depth].sum()), high: int(ends[-depth:].sum())}
        return counts

    @cached_property
    def spine_upright(self) -> bool:
        """Whether the bone at the back gathers along the lungs' height, as the spine does, not along their width."""
        back = np.zeros_like(self.bone)
        depth = max(1, round(FACE * self.bone.shape[1]))
        back[:, -depth:] = self.bone[:, -depth:]
        along, across = (back[self.middle(axis, VERTEBRA_MM)].sum() for axis in (2, 0))
        return bool(along >= UPRIGHT_SPINE * across)

    @cached_property
    def spine_x(self) -> float:
        """Column of the spine: the mean of the bone in the back third of the lungs' depth, near their middle."""
        z, y, x = self.box
        middle, reach = (x.start + x.stop - 1) / 2, SPINE_MM / self.spacing[2]
        columns = np.arange(self.hu.shape[2])
        back = (self.hu[z, int(y.stop - (y.stop - y.start) / 3) : y.stop] > BONE_HU).sum(axis=(0, 1))
        return _centre(back * (abs(columns - middle) <= reach), columns, middle)

    @cached_property
    def head_up(self) -> float | None:
        """How much higher air between the lungs (trachea) lies than soft tissue there (heart), of the lungs' height.

        None where hardly any air is seen, as in a small child.
        """
        between = between_lungs(self.lungs) & ~self.lungs
        rows = np.arange(len(self.hu)) / (self.box[0].stop - self.box[0].start)
        air, soft = between & (self.hu < -600), between & (self.hu > 0) & (self.hu < 600)
        if air.sum() * np.prod(self.spacing) / 1000 < TRACHEA_ML:
            return None
        return _centre(air.sum(axis=(1, 2)), rows) - _centre(soft.sum(axis=(1, 2)), rows)

    @cached_property
    def liver_and_heart(self) -> tuple[float, float]:
        """Distance in mm of the thick soft tissue under the lungs (liver, heart, spleen) to the right of the spine.

        And the right lung's share of the lung in the front half of the chest, at the height of the heart.
        """
        z, y, _ = self.box
        height, columns = z.stop - z.start, np.arange(self.hu.shape[2])
        radius = [max(1, round(LIVER_RADIUS_MM / s)) for s in self.spacing]
        soft = (self.hu > LIVER_HU[0]) & (self.hu < LIVER_HU[1]) & ~self.lungs
        thick = ndimage.binary_erosion(soft, np.ones([2 * r + 1 for r in radius], bool))[
            : int(z.start + height / 4) + 1
        ]
        liver = (self.spine_x - _centre(thick.sum(axis=(0, 1)), columns, self.spine_x)) * self.spacing[2]
        front = self.lungs[int(z.start + 0.2 * height) : int(z.start + 0.6 * height), y.start : (y.start + y.stop) // 2]
        share = front[:, :, columns < self.spine_x].sum() / max(1, front.sum())
        return float(liver), float(share)


def _check_lungs(body: Body) -> Finding:
    height, _, width = body.extent_mm
    low, high = LUNGS_HEIGHT
    seen = f"the lungs hold {body.lungs_ml:.0f} mL, {width:.0f} mm wide and {height:.0f} mm high"
    shaped = body.cut_at_a_side or {"inferior", "superior"} & set(body.cut) or low <= height / width <= high
    if body.lungs_ml > LUNGS_ML or width > LUNGS_WIDTH_MM or not shaped:
        remedy = "Check the voxel sizes that it states, or give the DICOM series."
        return doubtful("lung_size", f"{seen}, which no chest has: are the voxel sizes right?", remedy)
    return passed("lung_size", seen)


def _check_spine(body: Body) -> Finding:
    found = body.bone_at
    most = max(found, key=lambda side: found[side])
    share = found["back"] / max(1, found["back"] + found["front"])
    seen = f"{share:.0%} of the bone before and behind the lungs is behind"
    elsewhere = found[most] > SPINE_AGAINST * found["back"]
    if elsewhere or share < BEHIND:
        most = most if elsewhere else "front"
        return doubtful("spine_behind", f"the spine is seen at the {most} ({seen}): the body is turned", POSE_REMEDY)
    if not body.spine_upright:
        return doubtful("spine_behind", "the spine runs across the body: it is turned", POSE_REMEDY)
    return passed("spine_behind", seen)


def _check_head(head_up: float) -> Finding:
    seen = f"the trachea lies {head_up:.0%} of the lungs' height above the heart"
    if head_up >= UPRIGHT:
        return passed("head_up", seen)
    return doubtful("head_up", f"{seen}: the body stands upside down or is turned", POSE_REMEDY)


def _check_sides(body: Body) -> Finding:
    liver, share = body.liver_and_heart
    seen = (
        f"the tissue under the lungs lies {liver:.0f} mm right of the spine, {share:.0%} of the lung before the heart "
    )
    seen += "is right"
    if liver + HEART_MM * (share - 0.5) >= MIRRORED_MM:
        return passed("heart_left", seen)
    return doubtful("heart_left", f"{seen}: left and right may be exchanged", POSE_REMEDY)


def _centre(weights: np.ndarray, places: np.ndarray, otherwise: float = 0.0) -> float:
    return float(np.average(places, weights=weights)) if weights.any() else otherwise
