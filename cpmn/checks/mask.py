"""An embolus mask against the scan that it was drawn on: volume, values, place.

An embolus lies in a vessel: a mask that is mirrored, moved, or another patient's lies partly in lung wherever it
falls. That can be asked on either phase; on NCT clot and blood look alike, and nothing more can be asked there.

Limits by 57 phantom pairs of all difficulties and voxels of 1.5 to 6 mm, four of them real chests with made clots; what
they see in 30 others stands in docs/reference/propagate.md. `catalogue` repeats them in words.
"""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.checks.extent import large_enough
from cpmn.checks.finding import Finding, doubtful, failed, passed
from cpmn.volume.clots import components_of
from cpmn.volume.images import MASK_TOLERANCE_MM, same_grid, voxel_ml

LARGEST_ML, LARGE_ML = 200.0, 60.0  # ours; all clots of a patient have 1 to 20 mL (domain facts)
MANY_CLOTS = 100  # ours; a patient with emboli has about 10 (1,497 in 149: domain facts)
FEW_VALUES, VALUES_PER_PIECE = 10, 3.0  # ours: grey levels lie inside one another, clots beside one another

TISSUE_HU = (-200.0, 250.0)  # ours; clots on CTPA have 6 to 87 HU (domain facts), partial volume on either side
LEAST_IN_TISSUE, FEW_IN_TISSUE = 0.5, 0.7
BETTER, FAR_BETTER = 0.15, 0.2  # ours: how much more of a mask in tissue when mirrored is doubtful, refused
FEWEST_VOXELS = 30  # ours: fewer say nothing of a share

CLOT_HU = (150.0, 200.0)  # median above which is doubtful, refused: a chronic clot has 87, an artery 200 and more
OF_BLOOD = (0.7, 0.85)  # ours; the same, by that of opacified blood and bone: a clot of few voxels is half rim
OPACIFIED_HU = 110.0  # as the check `contrast`
REACH_MM, LEAST_NEAR_BLOOD = 10.0, 0.25  # ours: a clot that fills its artery has opacified blood at its end
LOOK_MM = 2.0  # ours: voxels on which blood is looked for, averaged against noise
LEAST_BLOOD_ML = 20.0  # ours: with less the scan says nothing of where the blood is
AXES = ("head to feet", "front to back", "left to right")


def check_mask(
    mask: sitk.Image,
    scan: sitk.Image,
    phase: str,
    others: Mapping[str, sitk.Image] | None = None,
    other_scan: sitk.Image | None = None,
) -> list[Finding]:
    """Findings of a mask.

    Parameters
    ----------
    mask : its values as given, whole numbers, 0 is background; on the grid of `scan`.
    scan : HU.
    phase : "nct" or "ctpa", what `scan` is.
    others : further masks, by name, which may fit better.
    other_scan : HU of the other phase; asked where it has the grid of `scan`, as the mask may have been drawn on it.

    An empty mask, and what a small image or mask cannot tell, gives no finding.
    """
    labels, scan = _upright(mask), sitk.DICOMOrient(scan, "LPS")
    if not (labels > 0).any():
        return []
    hu = sitk.GetArrayViewFromImage(scan)
    findings = [_volume(labels, scan), _clots(labels)]
    places = np.argwhere(labels > 0)
    if len(places) < FEWEST_VOXELS or not large_enough(scan, "xy"):
        return findings
    other_places = {name: np.argwhere(_upright(other) > 0) for name, other in (others or {}).items()}
    findings += check_place(hu, places, other_places)
    other = None if other_scan is None else sitk.DICOMOrient(other_scan, "LPS")
    if other is not None and same_grid(scan, other, MASK_TOLERANCE_MM):
        findings.append(_phase(hu, sitk.GetArrayViewFromImage(other), places, phase))
    return [*findings, *_blood(labels, hu, scan)] if phase == "ctpa" else findings


def check_truth(mask: sitk.Image, scan: sitk.Image, label: int, other_scan: sitk.Image | None = None) -> list[Finding]:
    """Findings of an `nct_truth` on its NCT, as `check_mask`, and whether it marks clots as the label says."""
    return [
        as_labelled(bool(sitk.GetArrayViewFromImage(mask).any()), label),
        *check_mask(mask, scan, "nct", other_scan=other_scan),
    ]


def as_labelled(any_clot: bool, label: int) -> Finding:
    """Whether a reference marks clots as the patient's label says."""
    if any_clot and not label:
        remedy = "Set label to 1, or remove the reference: its clots would count as missed in a patient without PE."
        return failed("mask_label", "label is 0 (no PE) but the reference marks clots", remedy)
    if label and not any_clot:
        remedy = "Is the annotation missing? The patient counts in no figure of voxels or lesions."
        return doubtful("mask_label", "label is 1 (PE) but the reference is empty", remedy)
    return passed("mask_label")


def check_place(hu: np.ndarray, places: np.ndarray, others: Mapping[str, np.ndarray]) -> list[Finding]:
    """Findings of where the voxels `places` (n, 3: z, y, x) lie in a scan (z, y, x; LPS); `others` may fit better."""
    return [_mirrored(hu, places, others), _tissue(_in_tissue(hu, places))]


def _upright(mask: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS"))


def _volume(labels: np.ndarray, scan: sitk.Image) -> Finding:
    ml = float((labels > 0).sum()) * voxel_ml(scan)
    seen = f"the mask marks {ml:.3g} mL"
    if ml > LARGE_ML:
        problem = f"{seen}; all clots of a patient together have 1 to 20 mL"
        remedy = "Give the emboli alone: is this a mask of an organ, of vessels, or of all tissue?"
        return (failed if ml > LARGEST_ML else doubtful)("mask_volume", problem, remedy)
    return passed("mask_volume", seen)


def _clots(labels: np.ndarray) -> Finding:
    """What the values mean: ids of clots, one value for all of them, or grey levels."""
    pieces, values = int(components_of(labels).max()), len(np.unique(labels[labels > 0]))
    if values > max(FEW_VALUES, VALUES_PER_PIECE * pieces):
        seen = f"the mask has {values} values in {pieces} connected pieces: probabilities or grey levels, not clot ids"
        return failed("mask_clots", seen, "Give clot ids, or one value: a probability needs a threshold first.")
    seen = f"the mask has {values} clot ids"
    if values == 1:
        seen = f"the mask has one value: split into {pieces} clots" if pieces > 1 else "the mask has one clot"
    if max(values, pieces if values == 1 else 0) > MANY_CLOTS:
        return doubtful("mask_clots", f"{seen}, far more than the usual 10", "Are there specks that are no clots?")
    return passed("mask_clots", seen)


def _tissue(share: float) -> Finding:
    seen = f"{share:.0%} of the mask lies in tissue ({TISSUE_HU[0]:g} to {TISSUE_HU[1]:g} HU)"
    if share < FEW_IN_TISSUE:
        remedy = "Look at it over the scan: is it another patient's, another series', moved, or drawn too wide?"
        problem = f"{seen}, the rest in lung, air or bone"
        return (failed if share < LEAST_IN_TISSUE else doubtful)("mask_tissue", problem, remedy)
    return passed("mask_tissue", seen)


def _mirrored(hu: np.ndarray, places: np.ndarray, others: Mapping[str, np.ndarray]) -> Finding:
    """Whether the mask fits far better mirrored, turned or one slice further, as viewers and exports leave it."""
    share = _in_tissue(hu, places)
    ways = {name: _in_tissue(hu, other) for name, other in others.items()}
    ways |= {name: _in_tissue(hu, moved) for name, moved in _moved(places, hu.shape)}
    best = max(ways, key=lambda name: ways[name])
    seen = f"{share:.0%} of the mask lies in tissue as it is, {ways[best]:.0%} {best}"
    gain = ways[best] - share if ways[best] >= FEW_IN_TISSUE else 0.0
    if gain > BETTER:
        remedy = "Correct the mask's orientation, or export it again, and look at it."
        return (failed if gain > FAR_BETTER else doubtful)("mask_mirrored", seen, remedy)
    return passed("mask_mirrored", seen)


def _phase(hu: np.ndarray, other_hu: np.ndarray, places: np.ndarray, phase: str) -> Finding:
    """Whether the mask fits the other phase far better: between the scans the patient breathed."""
    own, other = _in_tissue(hu, places), _in_tissue(other_hu, places)
    names = ("NCT", "CTPA") if phase == "nct" else ("CTPA", "NCT")
    seen = f"{own:.0%} of the mask lies in tissue of the {names[0]}, {other:.0%} in tissue of the {names[1]}"
    gain = other - own if other >= FEW_IN_TISSUE else 0.0
    if gain > BETTER:
        remedy = f"Was it drawn on the {names[1]}? Then name it in {names[1].lower()}_mask."
        return (failed if gain > FAR_BETTER else doubtful)("mask_phase", f"{seen}, whose grid is the same", remedy)
    return passed("mask_phase", seen)


def _moved(places: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Voxels (n, 3: z, y, x) mirrored, with x and y swapped where the image is square, and one slice further."""
    last = np.array(shape) - 1
    for swapped in (False, True)[: 1 + (shape[1] == shape[2])]:
        turned = places[:, [0, 2, 1]] if swapped else places
        for mirror in product((False, True), repeat=3):
            names = [f"mirrored {AXES[axis]}" for axis in range(3) if mirror[axis]]
            names += ["with rows and columns swapped"] * swapped
            if names:
                yield " and ".join(names), np.where(mirror, last - turned, turned)
    for step, where in ((1, "up"), (-1, "down")):
        yield f"one slice further {where}", np.add(places, [step, 0, 0])


def _in_tissue(hu: np.ndarray, places: np.ndarray) -> float:
    """Share of the voxels (n, 3: z, y, x) that lie in tissue; those outside the image do not."""
    inside = ((places >= 0) & (places < hu.shape)).all(axis=1)
    values, (low, high) = hu[tuple(places[inside].T)], TISSUE_HU
    return float(((values > low) & (values < high)).sum() / max(1, len(places)))


def _blood(labels: np.ndarray, hu: np.ndarray, scan: sitk.Image) -> list[Finding]:
    """Whether the mask is clot rather than opacified blood, and lies beside it; on CTPA alone."""
    median = float(np.median(hu[labels > 0]))
    seen = f"the mask's median is {median:.0f} HU"
    if median > CLOT_HU[0]:
        blood = float(np.median(hu[hu > OPACIFIED_HU]))
        wrong = [
            median > hu_limit and median > share * blood for hu_limit, share in zip(CLOT_HU, OF_BLOOD, strict=True)
        ]
        if wrong[0]:
            problem = f"{seen}, that of opacified blood and bone {blood:.0f}; clots have 6 to 87"
            return [(failed if wrong[1] else doubtful)("mask_blood", problem, "Is it a mask of the arteries?")]
    near = _near_blood(labels, scan)
    if near is None:
        return [passed("mask_blood", seen)]
    seen = f"{seen}, and {near:.0%} of it lies within {REACH_MM:g} mm of opacified blood or bone"
    if near < LEAST_NEAR_BLOOD:
        return [doubtful("mask_blood", seen, "Look at it over the scan: do the clots lie in arteries?")]
    return [passed("mask_blood", seen)]


def _near_blood(labels: np.ndarray, scan: sitk.Image) -> float | None:
    """Share of the mask within `REACH_MM` of voxels above `OPACIFIED_HU`; None where there are hardly any."""
    factors = [max(1, round(LOOK_MM / spacing)) for spacing in scan.GetSpacing()]
    coarse = sitk.BinShrink(sitk.Clamp(scan, sitk.sitkFloat32, -1000, 1000), factors)
    blood = sitk.GetArrayFromImage(coarse) > OPACIFIED_HU
    if blood.sum() * voxel_ml(coarse) < LEAST_BLOOD_ML:
        return None
    where = np.minimum(np.argwhere(labels > 0) // factors[::-1], np.array(blood.shape) - 1)
    reach = np.ceil(REACH_MM / np.array(coarse.GetSpacing()[::-1])).astype(int)
    low, high = np.maximum(where.min(axis=0) - reach, 0), where.max(axis=0) + reach + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    distance = ndimage.distance_transform_edt(~blood[box], sampling=coarse.GetSpacing()[::-1])
    return float((np.asarray(distance)[tuple((where - low).T)] <= REACH_MM).mean()) if blood[box].any() else 0.0
