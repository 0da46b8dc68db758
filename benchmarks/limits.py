"""Where marks may lie by the NCT alone: how much of true clots and of arteries each candidate limit would cost.

Phantom patients at the demo's resolution, and the same with dense lung drawn in. `outside_hull` is the convex hull of
the lungs slice by slice, `beyond_20_mm` the distance from the lungs, `impossible` is `cpmn.anatomy.possible`, which
`evaluate.anatomy` switches on.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull

from cpmn.anatomy.artery_vein import ARTERY
from cpmn.anatomy.lungbox import find_lungs
from cpmn.anatomy.possible import possible
from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.config.crop import CropConfig
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import build_anatomy
from cpmn.phantom.scan import grid_image, scan_phase, vessel_labels
from cpmn.volume.images import image_like

CONFIG = PhantomConfig(seed=2026)  # ours: no other cohort has that seed
PATIENTS = 24  # one of each pair has PE
HIGHEST_HU, DISTANCE_MM = 150, 20.0
DENSE_HU = 30  # of consolidated or airless lung; an effusion is near water, which changes nothing here


def measure() -> Iterator[dict[str, Any]]:
    """One row per PE patient and chest: share of clot voxels and of artery voxels that each limit takes away."""
    for index in range(PATIENTS):
        if not phantom_label(CONFIG.seed, index):
            continue
        anatomy = build_anatomy(CONFIG, patient_id(index))
        scan = scan_phase(CONFIG, anatomy, "nct")
        image, arteries = grid_image(scan.hu, scan.grid), vessel_labels(CONFIG, anatomy) == ARTERY
        lungs = sitk.GetArrayFromImage(find_lungs(image, CropConfig())) > 0
        for chest, dense in dense_lung(lungs).items():
            hu = np.where(dense, DENSE_HU, scan.hu).astype(np.int16)
            row = {"patient": patient_id(index), "chest": chest, "clot_voxels": int((scan.clots > 0).sum())}
            for limit, forbidden in limits(image_like(hu, image)).items():
                row[f"clots_{limit}"] = float(forbidden[scan.clots > 0].mean())
                row[f"arteries_{limit}"] = float(forbidden[arteries].mean())
            yield row


def dense_lung(lungs: np.ndarray) -> dict[str, np.ndarray]:
    """Parts (z, y, x) of the lungs to be made dense: none, the back third of the right one, a left base, all of one."""
    z, y, x = np.indices(lungs.shape)
    right, left = (lungs & side for side in (x < lungs.shape[2] // 2, x >= lungs.shape[2] // 2))
    return {
        "plain": np.zeros_like(lungs),
        "effusion": right & (y > np.percentile(y[right], 65)),
        "consolidation": left & (z < np.percentile(z[left], 40)),
        "airless lung": right,
    }


def limits(nct: sitk.Image) -> dict[str, np.ndarray]:
    """Where each limit would allow no mark, bool (z, y, x)."""
    found = find_lungs(nct, CropConfig())
    lungs = sitk.GetArrayFromImage(found) > 0
    distance = ndimage.distance_transform_edt(~lungs, sampling=nct.GetSpacing()[::-1])
    return {
        "above_150_hu": sitk.GetArrayFromImage(nct) > HIGHEST_HU,
        "outside_hull": ~np.stack([hull(part) for part in lungs]),
        "beyond_20_mm": np.asarray(distance) > DISTANCE_MM,
        "impossible": ~possible(nct, found),
    }


def hull(mask: np.ndarray) -> np.ndarray:
    """Convex hull of a slice (y, x)."""
    points = np.argwhere(mask)
    if len(points) < 3 or (np.ptp(points, axis=0) == 0).any():
        return mask
    planes = ConvexHull(points).equations
    inside = np.all(np.indices(mask.shape).T @ planes[:, :2].T + planes[:, 2] <= 1e-6, axis=-1)
    return np.asarray(inside).T
