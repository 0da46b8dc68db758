"""Reading a scan: sliding windows, the activation map, and what a NIfTI header says."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor, nn

from benchmarks.libraries import former
from benchmarks.libraries.trial import Trial
from cpmn.model.inference import predict_volume
from cpmn.model.network import Pathway, build_pathway
from cpmn.volume.images import write_image
from cpmn.volume.nifti import check_values

CHANNELS, STRIDES = (16, 32, 64, 96), ((2, 2, 2),) * 3  # the default network
PATCH, SPACING = (32, 32, 16), (2.0, 2.0, 2.5)  # x, y, z
VOLUME = (48, 64, 64)  # z, y, x; divisible by patch and strides, so that nothing is padded


def trials() -> Iterator[Trial]:
    pathway = build_pathway(CHANNELS, STRIDES, seed=1).eval()
    volume = torch.from_numpy(np.random.default_rng(0).normal(0, 1, VOLUME).astype(np.float32))
    yield Trial(
        "sliding windows, whole volume",
        "monai SlidingWindowInferer",
        "monai",
        lambda: former.windows(pathway, volume, PATCH[::-1])[0],
        lambda: predict_volume(pathway, volume, SPACING, PATCH, overlap=0.5).probability,  # as `former.windows`
        taken=True,
        why="says the same; the patient's class is still pooled by our rule",
        difference=_largest,
        unit="probability",
    )
    yield _activation_map(pathway)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        write_image(
            sitk.GetImageFromArray(np.random.default_rng(0).integers(-1000, 1000, (60, 256, 256), np.int16)), path
        )
        yield Trial(
            "whether a NIfTI file is whole",
            "nibabel headers",
            "nibabel",
            lambda: check_values(path),
            lambda: _checked_by_nibabel(path),
            taken=False,
            why="every job that reads an image would load it, which takes longer than reading one",
        )


def _activation_map(pathway: Pathway) -> Trial:
    from monai.visualize.class_activation_maps import GradCAM

    patches = torch.randn(2, 1, *PATCH[::-1])
    cam = GradCAM(nn.Sequential(_ClassLogit(pathway)), target_layers="0.pathway.decode.1")
    return Trial(
        "activation map",
        "monai GradCAM",
        "monai",
        lambda: _evidence(pathway, patches),
        lambda: cam(patches, class_idx=0),
        taken=False,
        why="ours is the evidence that decides, a result of the forward pass; GradCAM's is a guess from gradients",
    )


def _evidence(pathway: Pathway, patches: Tensor) -> Tensor:
    with torch.inference_mode():
        return pathway(patches).evidence


class _ClassLogit(nn.Module):
    """The pathway as a classifier, which is what MONAI's maps explain."""

    def __init__(self, pathway: Pathway):
        super().__init__()
        self.pathway = pathway

    def forward(self, patches: Tensor) -> Tensor:
        return self.pathway(patches).class_logit[:, None]


def _checked_by_nibabel(path: Path) -> None:
    """As `check_values`, with nibabel's word for where the values lie."""
    import nibabel
    from isal.igzip import IGzipFile

    values = nibabel.load(path).dataobj  # type: ignore[attr-defined]
    needed = values.offset + int(np.prod(values.shape)) * values.dtype.itemsize
    with IGzipFile(path) as stream:
        found = 0
        while block := stream.read(1 << 20):
            found += len(block)
    if found < needed:
        raise OSError("cut short")


def _largest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
