"""What is said of each mark: how large, how dense, how sure, and where it lies."""

from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from cpmn.anatomy.blood import blood_hu
from cpmn.anatomy.lungbox import body_middle
from cpmn.anatomy.lungs import between_lungs
from cpmn.dicom.references import References
from cpmn.volume.images import voxel_ml

BOTH_SHARE = 0.25  # our choice: a mark with this share of its voxels on either side of the middle lies on both
THIRDS = ("lower third", "middle third", "upper third")  # of the lung's height, from below


def ordered_lesions(labels: np.ndarray) -> np.ndarray:
    """The same components (z, y, x; numbered from 1), numbered by volume: 1 is the largest."""
    voxels = np.bincount(labels.ravel())[1:]
    numbers = np.zeros(len(voxels) + 1, labels.dtype)
    numbers[1 + np.argsort(-voxels, kind="stable")] = np.arange(1, len(voxels) + 1)
    return numbers[labels]


def describe_lesions(
    labels: np.ndarray,
    probability: np.ndarray,
    native: sitk.Image,
    lungs: sitk.Image,
    references: References | None,
) -> list[dict[str, Any]]:
    """Each marked component as a `Lesion` of `prediction.json`, in the order of their numbers.

    Parameters
    ----------
    labels, probability : (z, y, x) on the grid of `native`; components from 1 as `ordered_lesions` numbers them.
    native, lungs : NCT in HU and lung mask, both LPS on one grid.
    references : UIDs of the scan's slices; None for an image file.
    """
    found = ndimage.find_objects(labels)
    if not found:
        return []
    hu, lung = sitk.GetArrayViewFromImage(native), sitk.GetArrayViewFromImage(lungs).astype(bool)
    places = _Places(hu, lung, native.GetSpacing())
    blood = blood_hu(native)
    return [
        _lesion(number, box, labels[box] == number, probability, native, hu, blood, places, references)
        for number, box in enumerate(found, start=1)
    ]


class _Places:
    """Where the middle of the body, the lungs and what lies between them are; arrays (z, y, x) of one scan, `spacing`
    (x, y, z) in mm."""

    def __init__(self, hu: np.ndarray, lung: np.ndarray, spacing: tuple[float, ...]):
        heights = np.flatnonzero(lung.any(axis=(1, 2)))
        self._middle = body_middle(hu[heights[0] : heights[-1] + 1], spacing)
        self._lung, self._between = lung, between_lungs(lung)
        columns = round(self._middle)
        self._heights = {
            "right": _ends(lung[..., :columns], heights),
            "left": _ends(lung[..., columns:], heights),
            "both": (int(heights[0]), int(heights[-1])),
        }

    def side(self, columns: np.ndarray) -> str:
        """Side on which voxels of these indices along x (to the left) lie."""
        left = float(np.mean(columns > self._middle))
        if BOTH_SHARE <= left <= 1 - BOTH_SHARE:
            return "both"
        return "left" if left > 0.5 else "right"

    def region(self, voxels: tuple[np.ndarray, ...], side: str) -> str:
        """Third of the lung, `central` (between the lungs), or `outside` of both: where most of the voxels lie."""
        if np.mean(self._lung[voxels]) >= 0.5:
            low, high = self._heights[side]
            share = (float(voxels[0].mean()) - low) / max(1, high - low)
            return THIRDS[min(2, max(0, int(3 * share)))]
        return "central" if np.mean(self._between[voxels]) >= 0.5 else "outside"


def _ends(lung: np.ndarray, otherwise: np.ndarray) -> tuple[int, int]:
    """First and last slice with lung; those of both lungs where one is missing."""
    heights = np.flatnonzero(lung.any(axis=(1, 2)))
    heights = heights if heights.size else otherwise
    return int(heights[0]), int(heights[-1])


def _lesion(
    number: int,
    box: tuple[slice, ...],
    inside: np.ndarray,
    probability: np.ndarray,
    native: sitk.Image,
    hu: np.ndarray,
    blood: float | None,
    places: _Places,
    references: References | None,
) -> dict[str, Any]:
    local = np.nonzero(inside)
    voxels = tuple(index + part.start for index, part in zip(local, box, strict=True))
    centre = [float(index.mean()) for index in voxels[::-1]]
    mean_hu, side = float(hu[voxels].mean()), places.side(voxels[2])
    layer = box[0].start + int(inside.sum(axis=(1, 2)).argmax())
    return {
        "number": number,
        "volume_ml": len(voxels[0]) * voxel_ml(native),
        "confidence": float(probability[voxels].mean()),
        "mean_hu": mean_hu,
        "contrast_hu": None if blood is None else mean_hu - blood,
        "longest_mm": longest_mm(np.stack(local[::-1], axis=1), native.GetSpacing()),
        "side": side,
        "region": places.region(voxels, side),
        "centroid_mm": list(native.TransformContinuousIndexToPhysicalPoint(centre)),
        "slice": layer + 1,
        **_source(native, layer, references),
    }


def longest_mm(indices: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Longest distance in mm between corners of voxels with `indices` (n, 3; x, y, z) of a grid of `spacing`."""
    corners = np.unique((indices[:, None] + np.indices((2, 2, 2)).reshape(3, -1).T).reshape(-1, 3), axis=0)
    return float(pdist(corners[ConvexHull(corners).vertices] * np.asarray(spacing)).max())


def _source(native: sitk.Image, layer: int, references: References | None) -> dict[str, Any]:
    """The archive's name of the slice at index `layer` along z; empty for an image file."""
    if references is None:
        return {"instance_number": None, "sop_instance_uid": None, "frame": None}
    normal = np.reshape(native.GetDirection(), (3, 3))[:, 2]
    nearest = references.nearest(native.TransformIndexToPhysicalPoint((0, 0, layer)), normal.tolist())
    return {
        "instance_number": nearest.instance_number,
        "sop_instance_uid": nearest.sop_instance_uid,
        "frame": nearest.frame,
    }
