"""What MONAI has no transform for: the working grid, the lungs and where an embolus can be, in torch and MONAI alone.

This file is copied into a bundle as `scripts/chest.py` and imports nothing of this project. Images are MetaTensors
(1, z, y, x) in HU, with axes to the head, the back and the left ("SPL"). The working grid is that of `cpmn predict`;
lungs, blood and the places of an embolus are found by plainer rules than there, at about `COARSE_MM`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.networks.layers.convutils import gaussian_1d
from monai.networks.layers.simplelayers import separable_filtering
from monai.transforms.spatial.array import ResampleToMatch, SpatialResample
from monai.transforms.transform import Transform
from torch import Tensor
from torch.export.passes import move_to_device_pass
from torch.nn.functional import avg_pool3d, max_pool3d

COARSE_MM = 4.0
SAME_SPACING_MM = 1e-3
AIR_HU, BONE_HU, FAT_HU = -400.0, 150.0, -30.0
FAT_MM, BONE_MM = 1.5, 1.0  # standard deviations of the smoothing before
SMALLEST_SHARE = 0.05  # of the largest part: smaller ones are no lung
MINIMUM_ML = 300.0
TRACHEA_MM2, TRACHEA_OFFSET_MM = 800.0, 25.0
NEAR_LUNG_MM, NEIGHBOURS_MM, MARGIN_MM = 6.0, 30.0, 4.0


class WorkingGrid(Transform):
    """An image on voxels of `spacing` mm (z, y, x): smoothed where they get larger, linear, the centre kept.

    One that has the spacing already, to `SAME_SPACING_MM`, keeps its voxels.
    """

    def __init__(self, spacing: Sequence[float]):
        self.spacing = torch.tensor(spacing, dtype=torch.float64)

    def __call__(self, image: MetaTensor) -> Tensor:
        """The image (1, z, y, x), float32."""
        old, shape = _spacing(image), torch.tensor(image.shape[1:], dtype=torch.float64)
        if ((old - self.spacing).abs() < SAME_SPACING_MM).all():
            return image.float()
        smooth = MetaTensor(smoothed(image, (self.spacing / old - 1) / 2), affine=image.affine.clone())
        size = torch.ceil(shape * old / self.spacing - 1e-3).clamp(min=1)
        step = torch.diag(torch.cat([self.spacing / old, torch.ones(1)]))
        step[:3, 3] = (shape - 1) / 2 - step.diagonal()[:3] * (size - 1) / 2
        resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=True)
        grid = {"dst_affine": image.affine @ step, "spatial_size": size.int().tolist()}
        return resample(smooth, **grid).float()


def smoothed(image: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian of `sigma` voxels (z, y, x) over (1, z, y, x), the border repeated; none along axes of 0 or less."""
    kernels = [gaussian_1d(s, 4.0, "sampled") if s > 0 else torch.ones(1) for s in sigma.float()]
    kernels = [kernel / kernel.sum() for kernel in kernels]
    return separable_filtering(torch.as_tensor(image)[None].float(), kernels, mode="replicate")[0]


def margin(image: MetaTensor, mm: float) -> list[int]:
    """`mm` in whole voxels along (z, y, x), rounded up."""
    return torch.ceil(mm / _spacing(image) - 1e-6).int().tolist()


def find_lungs(image: MetaTensor, minimum_ml: float = MINIMUM_ML) -> Tensor:
    """Lungs (1, z, y, x; bool) of a chest: air that does not reach the sides of the image, in large parts.

    Gas of the bowel may be inside. Raises ValueError if there is less than `minimum_ml`.
    """
    factors = _factors(image)
    coarse = _coarse(image, factors)
    parts = _parts(coarse < AIR_HU)
    sides = torch.cat([parts[:, :, 0], parts[:, :, -1], parts[:, :, :, 0], parts[:, :, :, -1]], dim=-1)
    parts[torch.isin(parts, sides.unique())] = 0
    numbers, counts = parts[parts > 0].unique(return_counts=True)
    voxel_ml = float(_spacing(image).prod()) * factors[0] * factors[1] * factors[2] / 1000
    if not len(counts) or counts.sum() * voxel_ml < minimum_ml:
        raise ValueError("No lungs were found. Give a CT in HU that shows the chest and no head.")
    lungs = torch.isin(parts, numbers[counts >= SMALLEST_SHARE * counts.max()])
    lungs &= ~_airways(lungs, [float(s) * f for s, f in zip(_spacing(image), factors, strict=True)])
    return _fine(_spread(lungs, [3, 3, 3]), factors, image) & (torch.as_tensor(image) < AIR_HU)


def _airways(lungs: Tensor, spacing: Sequence[float]) -> Tensor:
    """Small parts of a slice near the middle: trachea and bronchi, which would widen the box upwards."""
    _, part, counts = _parts(lungs, (1, 3, 3)).unique(return_inverse=True, return_counts=True)
    columns = torch.arange(lungs.shape[-1]).expand_as(lungs)
    centre = part.flatten().bincount(columns.flatten().double()) / counts
    inside = columns[lungs]
    off = (centre - (inside.min() + inside.max()) / 2).abs() * spacing[2]
    return ((counts * spacing[1] * spacing[2] < TRACHEA_MM2) & (off < TRACHEA_OFFSET_MM))[part] & lungs


def blood_hu(image: MetaTensor, lungs: Tensor, otherwise: float) -> float:
    """Median HU of the tissue between the lungs, in front and above, where great vessels lie; else `otherwise`."""
    factors = _factors(image)
    hu, lung = _coarse(image, factors), _coarse(lungs, factors) > 0.5
    places = lung.nonzero()
    if not len(places):
        return otherwise
    low, high = places.amin(dim=0), places.amax(dim=0)
    soft = (hu > 0) & (hu < 110)
    core = _spread(~soft, [3, 3, 3]).logical_not() & _between(lung) & ~lung
    core[:, : int(low[1] + 0.6 * (high[1] - low[1]))] = False
    core[:, :, int(low[2] + 0.6 * (high[2] - low[2])) + 1 :] = False
    return float(hu[core].median()) if core.sum() >= 100 else otherwise


def possible(image: MetaTensor, lungs: Tensor, highest_hu: float | None, anatomy: bool) -> Tensor:
    """Where an embolus can be (1, z, y, x; bool): not above `highest_hu`; with `anatomy` in the chest's cavity alone.

    The cavity is what is lung or has lung to its right and left there or in a slice nearby; bone and fat are not.
    """
    hu = torch.as_tensor(image)
    allowed = torch.ones_like(hu, dtype=torch.bool) if highest_hu is None else hu <= highest_hu
    if not anatomy:
        return allowed
    spacing = _spacing(image)
    near = _spread(lungs, _sizes(spacing, [NEAR_LUNG_MM] * 3))
    cavity = _between(_spread(lungs, _sizes(spacing, [NEIGHBOURS_MM, MARGIN_MM, MARGIN_MM])))
    bone = smoothed(hu, BONE_MM / spacing) > BONE_HU
    fat = (smoothed(hu, FAT_MM / spacing) < FAT_HU) & ~near
    return allowed & cavity & ~bone & ~fat


def load_network(path: str, device: torch.device) -> Any:
    """The graph of a network that `torch.export` wrote, on `device`."""
    return move_to_device_pass(torch.export.load(path), device).module()


def read(
    image: MetaTensor, box: MetaTensor, allowed: Tensor, folds: Sequence[Mapping[str, Any]], device: torch.device
) -> MetaTensor:
    """Mean probability of the folds' networks in `box`, a crop of `image`, on the grid of `image`.

    It is 0 outside of the box and where `allowed` (1, z, y, x; bool) says so.
    """
    start = torch.linalg.solve(image.affine, box.affine)[:3, 3].round().int().tolist()
    there = (slice(None), *(slice(a, a + n) for a, n in zip(start, box.shape[1:], strict=True)))
    inside = MetaTensor(torch.as_tensor(allowed)[there].float(), affine=box.affine.clone())
    maps = [_read_fold(box, inside, fold, device) for fold in folds]
    whole = torch.zeros(image.shape)
    whole[there] = sum(maps) / len(maps) * inside
    return MetaTensor(whole, meta=image.meta)


def _read_fold(box: MetaTensor, inside: MetaTensor, fold: Mapping[str, Any], device: torch.device) -> Tensor:
    working, network = fold["preprocessing"](box), fold["network"]
    with torch.inference_mode():
        padded = torch.as_tensor(fold["padding"](working))[None].to(device)
        found = fold["inferer"](padded, lambda windows: network(windows)[0])[0].float().cpu()
    found = found[tuple(slice(0, n) for n in working.shape)] * torch.as_tensor(_on(inside, working, "nearest"))
    return torch.as_tensor(_on(MetaTensor(found, affine=working.affine.clone()), box, "bilinear")).clamp(0, 1)


def _on(image: MetaTensor, grid: MetaTensor, mode: str) -> Tensor:
    return ResampleToMatch(mode=mode, padding_mode="border", align_corners=True)(image, grid)


def _spacing(image: MetaTensor) -> Tensor:
    """Sizes of voxels along (z, y, x), mm."""
    return torch.as_tensor(image.pixdim, dtype=torch.float64)


def _factors(image: MetaTensor) -> list[int]:
    return [max(1, round(COARSE_MM / float(s))) for s in _spacing(image)]


def _coarse(image: Tensor, factors: list[int]) -> Tensor:
    """Means over blocks of `factors` voxels; those at the far ends of what is there."""
    pooled = avg_pool3d(torch.as_tensor(image)[None].float(), factors, ceil_mode=True, count_include_pad=False)
    return pooled[0]


def _fine(mask: Tensor, factors: list[int], image: Tensor) -> Tensor:
    for axis, factor in enumerate(factors, start=1):
        mask = mask.repeat_interleave(factor, dim=axis)
    return mask[tuple(slice(0, n) for n in image.shape)]


def _parts(mask: Tensor, sizes: Sequence[int] = (3, 3, 3)) -> Tensor:
    """Parts of a mask that touch within `sizes` voxels, each by a number of its own, which spreads in it; else 0."""
    numbers = torch.arange(1, mask.numel() + 1, dtype=torch.float32).reshape(mask.shape) * mask
    while True:
        spread = max_pool3d(numbers, list(sizes), stride=1, padding=[n // 2 for n in sizes]) * mask
        if torch.equal(spread, numbers):
            return numbers
        numbers = spread


def _between(lungs: Tensor) -> Tensor:
    """What is lung or has lung to its right and to its left."""
    return lungs.cumsum(-1).bool() & lungs.flip(-1).cumsum(-1).flip(-1).bool()


def _sizes(spacing: Tensor, reach_mm: Sequence[float]) -> list[int]:
    """Odd numbers of voxels that reach so far to either side."""
    return [2 * round(mm / float(s)) + 1 for mm, s in zip(reach_mm, spacing, strict=True)]


def _spread(mask: Tensor, sizes: Sequence[int]) -> Tensor:
    """A mask, wider by half a box of `sizes` voxels (z, y, x)."""
    for axis, size in enumerate(sizes):
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[axis], padding[axis] = size, size // 2
        mask = max_pool3d(mask.float(), kernel, stride=1, padding=padding).bool()
    return mask
