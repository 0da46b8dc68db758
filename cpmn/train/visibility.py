"""How well each clot can be told from blood on the NCT, and what its label weighs in training.

Most clots are nearly isodense on NCT (domain facts): their labels teach the network to mark every artery.
Weighting labels by visibility is ours.
"""

import cc3d
import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch import Tensor

from cpmn.anatomy.vessels import BLOOD_HU, SOFT_HU
from cpmn.config.train import Spacing, TrainConfig
from cpmn.config.train.loss import LossConfig
from cpmn.volume.grid import SAME_SPACING_MM, empty_working_grid, resample
from cpmn.volume.voxels import within

RING_MM = 6.0  # ours: blood within this distance of a clot is what it is compared with
MARKED = 0.5  # ours: probability from which a voxel of a reading counts as clot
LEVELS = 255  # visibilities are kept as uint8


def clot_visibility(
    nct: sitk.Image, embolus: sitk.Image, visible_hu: float, invisible_hu: float = 0.0
) -> dict[int, float]:
    """Visibility 0-1 per clot id: 0 up to a contrast of `invisible_hu`, 1 from `visible_hu`, linear between.

    The contrast is the absolute value of `contrast_to_blood`; a clot without soft tissue is invisible.
    """
    hu, ids = sitk.GetArrayFromImage(nct).astype(np.float32), sitk.GetArrayFromImage(embolus).astype(int)
    return _visibility(hu, ids, np.array(nct.GetSpacing()[::-1]), visible_hu, invisible_hu)


def patch_visibility(hu: np.ndarray, clot: np.ndarray, spacing: Spacing, config: LossConfig) -> np.ndarray:
    """`LEVELS` x the visibility of each connected piece of `clot` (bool) in a patch in HU (z, y, x); 0 elsewhere."""
    ids = np.asarray(cc3d.connected_components(clot)).astype(int)
    seen = _visibility(hu, ids, np.array(spacing[::-1]), config.visible_hu, config.invisible_hu)
    return LEVELS * _table(seen)[ids]


def shown_weight(patches: Tensor, read: Tensor, spacing: Spacing, config: TrainConfig) -> Tensor:
    """`label_weight` of clots that are `read` on the CTPA (probability, marked from `MARKED`) in NCT patches.

    patches : (batch, 1, z, y, x), normalised; the window's centre does not matter, as a clot is compared with blood
        near it, so that the configured one serves.
    """
    hu = (patches.float() * config.network.window_scale + config.network.window_center).cpu().numpy()[:, 0]
    marked = (read >= MARKED).cpu().numpy()[:, 0]
    weights = [
        label_weight(patch_visibility(one, clot, spacing, config.loss), clot, config.loss.visibility_floor)
        for one, clot in zip(hu, marked, strict=True)
    ]
    return torch.from_numpy(np.stack(weights)[:, None]).to(patches.device)


def _visibility(
    hu: np.ndarray, ids: np.ndarray, spacing: np.ndarray, visible_hu: float, invisible_hu: float
) -> dict[int, float]:
    """The same of arrays (z, y, x), with the mm per voxel along z, y, x."""
    margin = np.ceil(RING_MM / spacing).astype(int)
    result = {}
    for clot, found in enumerate(ndimage.find_objects(ids), start=1):
        if found is None:
            continue
        box = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(found, margin, strict=True))
        contrast = abs(contrast_to_blood(hu[box], ids[box] == clot, ids[box] == 0, spacing))
        result[clot] = float(np.clip((contrast - invisible_hu) / (visible_hu - invisible_hu), 0, 1))
    return result


def contrast_to_blood(hu: np.ndarray, clot: np.ndarray, elsewhere: np.ndarray, steps: np.ndarray) -> float:
    """Median HU of a clot minus that of the blood within `RING_MM` of it; 0.0 for a clot without soft tissue.

    hu : (z, y, x); clot : its voxels, bool; elsewhere : voxels of no clot, bool; steps : mm per voxel along z, y, x.
    Without any blood near it a clot is compared with the middle of the blood's range.
    """
    soft = _within(hu[clot], SOFT_HU)
    if not soft.size:
        return 0.0
    near = within(clot, RING_MM, steps[::-1])
    blood = _within(hu[near & elsewhere], BLOOD_HU)
    return float(np.median(soft)) - (float(np.median(blood)) if blood.size else sum(BLOOD_HU) / 2)


def _within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return values[(values >= limits[0]) & (values <= limits[1])]


def visibility_map(
    nct: sitk.Image, embolus: sitk.Image, clot: np.ndarray, spacing: Spacing, config: LossConfig
) -> np.ndarray:
    """uint8 (z, y, x) on the working grid: 255 x visibility of the nearest clot; 0 without any.

    It reaches beyond the clots, so that the rim of a clot interpolated by rotation or scaling has its visibility too.
    """
    nct, embolus = (sitk.DICOMOrient(image, "LPS") for image in (nct, embolus))
    seen = clot_visibility(nct, embolus, config.visible_hu, config.invisible_hu)
    if not seen or not clot.any():
        return np.zeros(clot.shape, np.uint8)
    ids = _working_ids(embolus, spacing)
    if not ids.any():
        return np.full(clot.shape, round(LEVELS * max(seen.values())), np.uint8)
    nearest = ndimage.distance_transform_edt(ids == 0, return_distances=False, return_indices=True)
    return np.rint(LEVELS * _table(seen)[ids[tuple(np.asarray(nearest))]]).astype(np.uint8)


def _table(seen: dict[int, float]) -> np.ndarray:
    """Visibility by clot id, 0 for what is no clot."""
    table = np.zeros(max(seen, default=0) + 1)
    table[list(seen)] = list(seen.values())
    return table


def _working_ids(embolus: sitk.Image, spacing: Spacing) -> np.ndarray:
    if np.allclose(embolus.GetSpacing(), spacing, rtol=0, atol=SAME_SPACING_MM):
        return sitk.GetArrayFromImage(embolus)
    grid = empty_working_grid(embolus, np.array(spacing))
    return sitk.GetArrayFromImage(resample(embolus, grid, sitk.sitkNearestNeighbor))


def label_weight(visibility: np.ndarray, clot: np.ndarray, floor: float) -> np.ndarray:
    """Weight of each voxel's label, float32: 1 outside clots, inside v + (1 - v) floor; v: `visibility` / 255."""
    seen = visibility.astype(np.float32) / LEVELS
    return np.where(clot, seen + (1 - seen) * np.float32(floor), np.float32(1)).astype(np.float32)
