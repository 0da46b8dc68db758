"""The pathway: a small 3D U-Net with a segmentation head and a classification head pooled from an evidence map.

The U-Net is Cicek's (MICCAI 2016), residual blocks are He's (CVPR 2016), group norm is Wu and He's (ECCV 2018).

CPMN (Bai et al., MICCAI 2024, arXiv 2407.11529) has one pathway per CT phase and both tasks in each; its abstract
states no backbone, so every size and layer here is our choice. Both phases use this design with weights of their own;
at test time only the NCT pathway exists.

MONAI's DynUNet and SegResNet with the same channels take 2.3 and 2.4 times as long a step, and its block `Convolution`
is the same as `ConvBlock` but names weights otherwise, so that stored models would not load (`python -m benchmarks
libraries`).
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8  # our choice: group norm does not depend on the batch, which is small
DEEP_LEVELS = 2  # our choice: coarser levels that get their own segmentation loss ("light" deep supervision)
EVIDENCE_LEVEL = 1  # our choice: half resolution smooths the class-activation map and costs an eighth
PRIOR_FLOOR = 1e-3  # our choice: weight of a voxel that the segmentation rules out, against 1 where it is sure
CLOT_PRIOR = 0.01  # our choice: probability that segmentation starts from (as in focal loss, Lin 2017)
UNSAFE_DEPTH = 2
"""Slices for which a convolution on a CPU stays in float32. In bfloat16 the gradient of its 3x3x3 weights reads memory
that nobody wrote, at exactly two slices: other values each time, at times NaN (torch 2.13.0, AVX512-BF16; tested)."""
CLASS_PRIOR = 0.5  # our choice: probability that classification starts from; half of the patches hold clot


@dataclass
class PathwayOutput:
    """What a pathway returns for patches (batch, 1, z, y, x).

    logits : segmentation logits (batch, 1, z, y, x).
    deep_logits : segmentation logits of the coarser levels, finest first.
    features : decoder features (batch, channels, z, y, x) per level, finest first; the last is the bottleneck.
    evidence : evidence of embolus per voxel, a logit, (batch, 1, z, y, x) at level `EVIDENCE_LEVEL`.
    class_logit : (batch,), pooled from `evidence`.
    """

    logits: Tensor
    deep_logits: list[Tensor]
    features: list[Tensor]
    evidence: Tensor
    class_logit: Tensor

    def mirrored(self, axes: tuple[int, ...]) -> "PathwayOutput":
        """The same with all maps flipped along `axes`."""
        if not axes:
            return self
        deep, features = ([level.flip(axes) for level in levels] for levels in (self.deep_logits, self.features))
        return PathwayOutput(self.logits.flip(axes), deep, features, self.evidence.flip(axes), self.class_logit)


class Pathway(nn.Module):
    """One phase's network.

    Parameters
    ----------
    channels : feature channels per level, finest first; multiples of 8, at least two levels.
    strides : (x, y, z) downsampling from each level to the next, one fewer than `channels`. An axis that is much
        coarser than the others keeps stride 1 at first (see `cpmn.model.plan.pooling_strides`).
    absolute : whether the first convolution goes without group norm. The norm takes a patch's own mean and spread, so
        that the same HU look brighter beside lung than beside heart; without it the finest features keep them.

    The input's size must be divisible by the product of the strides along every axis.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[Sequence[int]], absolute: bool = False):
        super().__init__()
        if len(strides) != len(channels) - 1:
            raise ValueError(f"{len(channels)} levels need {len(channels) - 1} strides, not {len(strides)}")
        self.strides = [(z, y, x) for x, y, z in strides]  # tensors are (z, y, x)
        self.stem = ConvBlock(1, channels[0], normed=not absolute)
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b, stride), ResidualBlock(b))
            for (a, b), stride in zip(pairwise(channels), self.strides, strict=True)
        )
        self.reduce = nn.ModuleList(nn.Conv3d(b, a, 1, bias=False) for a, b in pairwise(channels))
        self.decode = nn.ModuleList(ResidualBlock(a) for a in channels[:-1])
        self.segment = nn.ModuleList(head(c, CLOT_PRIOR) for c in channels[: min(1 + DEEP_LEVELS, len(channels))])
        self.witness = head(channels[EVIDENCE_LEVEL], CLASS_PRIOR)

    def forward(self, patches: Tensor) -> PathwayOutput:
        """Outputs for patches (batch, 1, z, y, x) of intensities that `cpmn.volume.grid.normalise` made of HU."""
        features = self._features(patches)
        with torch.autocast(patches.device.type, enabled=False):  # probabilities near 0 and 1 need float32's digits
            logits = [segment(level.float()) for segment, level in zip(self.segment, features, strict=False)]
            evidence = self.witness(features[EVIDENCE_LEVEL].float())
        stride = self.strides[0]
        prior = functional.max_pool3d(torch.sigmoid(logits[0].detach()), stride, stride)
        return PathwayOutput(logits[0], logits[1:], features, evidence, pool_evidence(evidence, prior))

    def _features(self, patches: Tensor) -> list[Tensor]:
        skips = [self.stem(patches)]
        for down in self.down:
            skips.append(down(skips[-1]))
        features = [skips[-1]]
        for level in reversed(range(len(self.strides))):
            coarse = self.reduce[level](features[0])  # reduced before it is enlarged: an eighth of the work
            enlarged = functional.interpolate(coarse, scale_factor=tuple(map(float, self.strides[level])))
            features.insert(0, self.decode[level](skips[level] + enlarged))
        return features


class ConvBlock(nn.Module):
    """Convolution 3x3x3 (perhaps strided), group norm (or, without, a bias), leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int, int] = (1, 1, 1), normed: bool = True):
        super().__init__()
        self.convolution = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=not normed)
        self.norm = nn.GroupNorm(GROUPS, outputs) if normed else nn.Identity()

    def forward(self, patches: Tensor) -> Tensor:
        shallow = patches.device.type == "cpu" and patches.shape[2] == UNSAFE_DEPTH
        with torch.autocast(patches.device.type, enabled=False) if shallow else nullcontext():
            convolved = self.convolution(patches.float() if shallow else patches)
        return functional.leaky_relu(self.norm(convolved), 0.01, inplace=True)


class ResidualBlock(nn.Module):
    """x + convolution, so that a level starts near the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.block = ConvBlock(channels, channels)

    def forward(self, patches: Tensor) -> Tensor:
        return patches + self.block(patches)


def head(channels: int, prior: float) -> nn.Conv3d:
    """1x1x1 convolution to one logit that starts near the probability `prior`, so nothing must be unlearnt first."""
    layer = nn.Conv3d(channels, 1, 1)
    if not layer.weight.is_meta:  # for a shape without values torch would import its compiler, which takes 1.3 s
        nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, math.log(prior / (1 - prior)))
    return layer


def pool_evidence(evidence: Tensor, prior: Tensor) -> Tensor:
    """Class logit of a patch: log-mean-exp of the evidence, weighted by the segmentation.

        logit = log( sum_v w_v exp(e_v) / sum_v w_v ),   w_v = p_v + PRIOR_FLOOR

    `evidence` e are logits and `prior` p probabilities of clot, both (batch, 1, z, y, x); returns (batch,). The value
    lies between the least and the greatest evidence whatever the patch's size, and evidence that is high anywhere in
    a clot-free patch is pushed down, which is what makes the class-activation map mean something. Of patches, that is
    of training: a patient's class is pooled from the whole volume by `cpmn.model.inference.pool_volume`.
    Log-sum-exp pooling is Pinheiro & Collobert's (CVPR 2015); the weights by the segmentation are ours.
    """
    weight = (prior.flatten(1) + PRIOR_FLOOR).log()
    return torch.logsumexp(evidence.flatten(1) + weight, dim=1) - torch.logsumexp(weight, dim=1)


def all_finite(weights: Mapping[str, Tensor]) -> bool:
    """Whether every weight is a number, which those of a diverged training are not."""
    return all(bool(torch.isfinite(value).all()) for value in weights.values())


def build_pathway(
    channels: Sequence[int], strides: Sequence[Sequence[int]], seed: int, absolute: bool = False
) -> Pathway:
    """Pathway whose weights are a function of `seed` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Pathway(channels, strides, absolute)
