"""The box of the lungs, which `crop` cuts and `predict` reads: a function of the NCT and the configuration alone."""

import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import cc3d
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.anatomy.lungs import no_lungs, segment_lungs
from cpmn.config.crop import CropConfig
from cpmn.errors import MachineError
from cpmn.volume.box import Box, bounding_box
from cpmn.volume.images import image_like, voxel_ml
from cpmn.volume.voxels import between

TISSUE_HU = -300.0  # our choice: above lie fat and all denser tissue
COARSE_MM = 3.0  # ours: the middle of a trunk is smooth
BRIDGE = np.ones((1, 5, 5), bool)  # ours: in such voxels; an arm or a table that touches by less is no trunk
MISSING_SHARE = 0.3  # our choice: a side with less lung than this share of the other's is collapsed or filled
SIDES = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))  # low and high end of x, y, z in LPS
LOBES = [f"lung_{lobe}" for lobe in ("upper_lobe_left", "lower_lobe_left")]
LOBES += [f"lung_{lobe}_lobe_right" for lobe in ("upper", "middle", "lower")]


def find_box(nct: sitk.Image, config: CropConfig) -> tuple[Box, sitk.Image, bool]:
    """Box of the lungs with its margin, the lung mask (uint8) on the grid of `nct` (HU, LPS), whether it was mirrored.

    The mediastinum, and with it the central pulmonary arteries, lies between the lungs and so inside. Where one lung
    is missing (collapsed, filled or removed), the box of the other is mirrored at the middle of the body, so that
    trunk and both hila are inside all the same. Raises CpmnError if there are no lungs.
    """
    lungs = find_lungs(nct, config)
    box = bounding_box(lungs, config.margin_mm)
    wide = _mirrored(box, nct, lungs)
    return wide or box, lungs, wide is not None


def find_lungs(nct: sitk.Image, config: CropConfig) -> sitk.Image:
    """Lung mask (uint8, 1 = lung) of an NCT in HU by the configured method. Raises CpmnError if there are no lungs."""
    if config.lungs == "classical":
        return segment_lungs(
            nct, threshold_hu=config.threshold_hu, spacing_mm=config.spacing_mm, minimum_ml=config.minimum_lung_ml
        )
    lungs = {"lungmask": _lungmask, "totalsegmentator": _totalsegmentator}[config.lungs](nct)
    volume = sitk.GetArrayViewFromImage(lungs).sum() * voxel_ml(lungs)
    if volume < config.minimum_lung_ml:
        raise no_lungs(volume, config.minimum_lung_ml)
    return lungs


def touched_sides(lungs: sitk.Image) -> list[str]:
    """Sides of the scan that a lung mask touches: there the scan does not cover the lungs."""
    tight = bounding_box(lungs)
    touched = []
    for names, start, size, native in zip(SIDES, tight.start, tight.size, tight.native_size, strict=True):
        touched += [names[0]] * (start == 0) + [names[1]] * (start + size == native)
    return touched


def body_middle(hu: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Place of the middle of the trunk along x, in voxels: the mean of these slices' (z, y, x; HU) trunk.

    With the air inside, or fluid and dense lung on one side would draw it there; without arms and table, as far as air
    parts them from it. `spacing` is (x, y, z) in mm.
    """
    step = [max(1, round(COARSE_MM / s)) for s in spacing]
    tissue = hu[:: step[2], :: step[1], :: step[0]] > TISSUE_HU
    solid = np.stack([np.asarray(ndimage.binary_fill_holes(part)) for part in tissue])
    trunk = cc3d.largest_k(ndimage.binary_opening(solid, BRIDGE), k=1, connectivity=6).astype(bool)
    solid = between(trunk, axis=2) if trunk.any() else np.ones_like(trunk)
    columns = solid.sum(axis=(0, 1))
    return float(np.average(np.arange(columns.size), weights=columns)) * step[0]


def _mirrored(box: Box, nct: sitk.Image, lungs: sitk.Image) -> Box | None:
    """`box` widened to lie evenly about the middle of the body along x, where one side has hardly any lung."""
    z = box.slices[0]
    columns = sitk.GetArrayViewFromImage(lungs)[z].sum(axis=(0, 1), dtype=np.int64)
    middle = body_middle(sitk.GetArrayViewFromImage(nct)[z], nct.GetSpacing())
    sides = columns[: round(middle)].sum(), columns[round(middle) :].sum()
    if min(sides) >= MISSING_SHARE * max(sides):
        return None
    low, high = box.start[0], box.start[0] + box.size[0] - 1
    start = max(0, min(low, int(np.floor(2 * middle - high))))
    stop = min(box.native_size[0], max(high, int(np.ceil(2 * middle - low))) + 1)
    return Box((start, *box.start[1:]), (stop - start, *box.size[1:]), box.native_size)


def _lungmask(nct: sitk.Image) -> sitk.Image:
    inferer = _installed("lungmask", "LMInferer", package="lungmask")()
    return image_like((np.asarray(inferer.apply(nct)) > 0).astype(np.uint8), nct)


def _totalsegmentator(nct: sitk.Image) -> sitk.Image:
    segment = _installed("totalsegmentator.python_api", "totalsegmentator", package="totalsegmentator")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "nct.nii.gz", Path(folder) / "lungs.nii.gz"
        sitk.WriteImage(nct, str(source))
        segment(source, target, ml=True, roi_subset=LOBES, quiet=True)
        return image_like((sitk.GetArrayFromImage(sitk.ReadImage(str(target))) > 0).astype(np.uint8), nct)


def _installed(module: str, name: str, *, package: str) -> Callable:
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise MachineError(  # no patient is to be excluded for that
            f"crop.lungs is '{package}', but the package {package} is not installed here: "
            f"install it (pip install {package}), or set crop.lungs to 'classical'"
        ) from error
