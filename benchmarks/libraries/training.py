"""A training step: network, loss, augmentation, and the store of volumes that patches are cut from."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.libraries.reading import CHANNELS, PATCH, STRIDES
from benchmarks.libraries.trial import Trial
from cpmn.config.train.augmentation import AugmentationConfig
from cpmn.model.losses import segmentation_loss
from cpmn.model.network import ConvBlock, PathwayOutput, build_pathway
from cpmn.train.patches import augmented, cut
from cpmn.train.places import Place, rotation_matrix
from cpmn.train.subjects import Subject

BATCH = 4
SPACING = (2.0, 2.0, 2.5)  # mm along x, y, z
VOLUME = (96, 144, 144)  # z, y, x
NOISE_HU, SHIFT_HU = 20.0, 10.0
CORNER = (40, 50, 60)
OUTSIDE_HU = -1024
ANGLES = np.array([15.0, 5.0, -5.0])  # degrees about z, y, x


def trials() -> Iterator[Trial]:
    torch.manual_seed(0)
    yield from _networks()
    yield from _losses()
    with tempfile.TemporaryDirectory() as folder:
        yield from _sampling(Path(folder))


def _networks() -> Iterator[Trial]:
    from monai.networks.blocks.convolutions import Convolution
    from monai.networks.nets.dynunet import DynUNet
    from monai.networks.nets.segresnet import SegResNet

    patches = torch.randn(BATCH, 1, *PATCH[::-1])
    pathway = build_pathway(CHANNELS, STRIDES, seed=1)
    strides = [1, *STRIDES]
    peers: dict[str, nn.Module] = {
        "monai DynUNet": DynUNet(
            3, 1, 1, [3] * 4, strides, strides[1:], CHANNELS, norm_name=("group", {"num_groups": 8}), res_block=True
        ),
        "monai SegResNet": SegResNet(init_filters=16, out_channels=1, blocks_down=(1, 1, 1, 1)),
    }
    ours = _step(pathway, patches, _both_heads)
    for name, peer in peers.items():
        theirs = _step(peer, patches, torch.mean)
        yield Trial(
            "network, forward and backward",
            name,
            "monai",
            ours,
            theirs,
            taken=False,
            why=f"slower; {_size(pathway, ours)} against {_size(peer, theirs)}; stored models would not load",
        )
    yield _block(Convolution)


def _block(convolution: Callable[..., nn.Module]) -> Trial:
    features = torch.randn(BATCH, 16, *PATCH[::-1])
    group, leaky = ("group", {"num_groups": 8}), ("leakyrelu", {"negative_slope": 0.01, "inplace": True})
    ours, theirs = ConvBlock(16, 16), convolution(3, 16, 16, adn_ordering="NA", norm=group, act=leaky, bias=False)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    return Trial(
        "block: convolution, group norm, leaky ReLU",
        "monai Convolution",
        "monai",
        lambda: ours(features).detach(),
        lambda: theirs(features).detach(),
        taken=False,
        why="the same, but names its weights otherwise: stored models would not load, and saves six lines",
        difference=lambda one, other: float((one - other).abs().max()),
        unit="feature",
    )


def _losses() -> Iterator[Trial]:
    from monai.losses.dice import DiceCELoss
    from monai.losses.ds_loss import DeepSupervisionLoss

    size = PATCH[::-1]
    levels = [torch.randn(BATCH, 1, *(n // 2**level for n in size), requires_grad=True) for level in range(3)]
    target = (torch.rand(BATCH, 1, *size) < 0.02).float()
    dice_ce = DiceCELoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    deep, share = DeepSupervisionLoss(dice_ce), 1 + 1 / 2 + 1 / 4
    cases: list[tuple[str, str, Callable[[], Tensor], Callable[[], Tensor], str]] = [
        (
            "segmentation loss, one level, no weights",
            "monai DiceCELoss",
            lambda: segmentation_loss(levels[0], [], target),
            lambda: dice_ce(levels[0], target),
            "the same, but has no weight of each voxel, which labels by visibility need",
        ),
        (
            "segmentation loss, deep supervision",
            "monai DeepSupervisionLoss",
            lambda: segmentation_loss(levels[0], levels[1:], target),
            lambda: deep(levels, target) / share,
            "takes the nearest voxel for coarse labels, where small clots vanish; ours keeps the largest",
        ),
    ]
    for job, library, ours, theirs, why in cases:
        yield Trial(
            job,
            library,
            "monai",
            _with_gradient(ours),
            _with_gradient(theirs),
            taken=False,
            why=why,
            difference=lambda one, other: abs(one - other),
            unit="loss",
        )


def _sampling(folder: Path) -> Iterator[Trial]:
    from monai.data.dataset import PersistentDataset
    from monai.transforms.io.dictionary import LoadImaged

    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {name: random.normal(0, 100, VOLUME).astype(np.int16) for name in ("nct", "ctpa")}
    arrays["embolus"] = (random.random(VOLUME) < 0.01).astype(np.uint8)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    mapped = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in arrays}
    voxels = np.zeros((1, 3), np.int16)
    subject = Subject("p", 1, mapped["nct"], mapped["ctpa"], mapped["embolus"], voxels, voxels, spacing=SPACING)
    for job, matrix in (("flips, noise, offset", None), ("with rotation too", rotation_matrix(ANGLES, 1.1, SPACING))):
        place = Place(subject, CORNER, "clot", (False, False, True), matrix)
        yield from _augmentation(job, place, mapped)
    files = [{name: str(folder / f"{name}.npy") for name in arrays}]
    stored: Any = PersistentDataset(files, LoadImaged(list(arrays)), folder / "store")
    size = PATCH[::-1]
    box = tuple(slice(c, c + n) for c, n in zip(CORNER, size, strict=True))
    yield Trial(
        "a patch from the store of volumes",
        "monai PersistentDataset",
        "monai",
        lambda: np.array(np.load(folder / "nct.npy", mmap_mode="r")[box]),
        lambda: np.asarray(stored[0]["nct"])[box],
        taken=False,
        why="reads whole volumes where ours maps them into memory; CacheDataset keeps the cohort in memory",
        difference=lambda one, other: float(np.abs(one.astype(float) - other).max()),
        unit="HU",
    )


def _augmentation(job: str, place: Place, mapped: dict[str, np.ndarray]) -> Iterator[Trial]:
    """The patches of one place by themselves, and within a training step of one pathway."""
    step = _step(build_pathway(CHANNELS, STRIDES, seed=1), torch.randn(BATCH, 1, *PATCH[::-1]), _both_heads)

    def difference(_one: object, _other: object) -> float:
        return _largest(_ours(place, noise=False), _by_monai(mapped, place, noise=False))

    def ours() -> None:
        _ours(place, noise=True)

    def theirs() -> None:
        _by_monai(mapped, place, noise=True)

    def after(patches: Callable[[], None]) -> Callable[[], None]:
        def both() -> None:
            for _ in range(BATCH):
                patches()
            step()

        return both

    transforms = "monai SpatialCropd, RandFlipd, Affined, RandGaussianNoised, RandShiftIntensityd"
    whys = (
        "places are chosen by kind of tissue, and simulated clots need them: little would be left to the library",
        "draws other random numbers: no stored training would repeat",
    )
    yield Trial(
        f"patches of a place: {job}", transforms, "monai", ours, theirs, False, whys[0], difference, "HU without noise"
    )
    yield Trial(f"training step with patches: {job}", transforms, "monai", after(ours), after(theirs), False, whys[1])


def _ours(place: Place, noise: bool) -> list[np.ndarray]:
    subject, size, random = place.subject, PATCH[::-1], np.random.default_rng([0, 1, 2])
    phases = [cut(phase, place, size, OUTSIDE_HU) for phase in (subject.nct, subject.ctpa)]
    if noise:
        settings = AugmentationConfig(noise_hu=NOISE_HU, shift_hu=SHIFT_HU)
        phases = [augmented(phase, settings, random) for phase in phases]
    return [*phases, cut(subject.embolus, place, size, 0, order=0)]


def _by_monai(mapped: dict[str, np.ndarray], place: Place, noise: bool) -> list[np.ndarray]:
    """The same place with dictionary transforms, of which each noise has its own numbers and all else is shared."""
    from monai.transforms.compose import Compose
    from monai.transforms.croppad.dictionary import SpatialCropd
    from monai.transforms.intensity.dictionary import RandGaussianNoised, RandShiftIntensityd
    from monai.transforms.spatial.dictionary import Affined, RandFlipd

    size, keys, phases = np.array(PATCH[::-1]), list(mapped), ("nct", "ctpa")
    reach = size // 2 if place.matrix is None else np.ceil(np.abs(place.matrix) @ ((size - 1) / 2)).astype(int) + 1
    centre = np.array(place.corner) + size // 2
    steps: list[Any] = [SpatialCropd(keys, roi_start=(centre - reach).tolist(), roi_end=(centre + reach).tolist())]
    if place.matrix is not None:
        affine = np.eye(4)
        affine[:3, :3] = place.matrix
        modes: Sequence[str] = ["bilinear" if key in phases else "nearest" for key in keys]
        steps.append(Affined(keys, affine=affine, spatial_size=size.tolist(), mode=modes, padding_mode="border"))
    steps.append(RandFlipd(keys, prob=1.0, spatial_axis=2))
    if noise:
        for phase in phases:
            steps += [
                RandGaussianNoised([phase], prob=1.0, std=NOISE_HU),
                RandShiftIntensityd([phase], SHIFT_HU, prob=1.0),
            ]
    transform = Compose(steps)
    transform.set_random_state(seed=12)
    varied: Any = transform({key: array[None] for key, array in mapped.items()})
    return [np.asarray(varied[key])[0] for key in keys]


def _largest(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """Of both phases' HU; masks come third."""
    return max(float(np.abs(a - b.astype(float)).max()) for a, b in zip(ours[:2], theirs[:2], strict=True))


def _both_heads(output: PathwayOutput) -> Tensor:
    return output.logits.mean() + output.class_logit.mean()


def _step(network: nn.Module, patches: Tensor, value: Callable[[Any], Tensor]) -> Callable[[], None]:
    def step() -> None:
        network.zero_grad()
        value(network(patches)).backward()

    return step


def _with_gradient(loss: Callable[[], Tensor]) -> Callable[[], float]:
    def step() -> float:
        value = loss()
        value.backward()
        return value.item()

    return step


def _size(network: nn.Module, step: Callable[[], None]) -> str:
    """Weights, and what a step keeps for its backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    weights = sum(weight.numel() for weight in network.parameters())
    return f"{weights / 1e6:.2f} million weights and {sum(kept.values()) / 1e6:.0f} MB"
