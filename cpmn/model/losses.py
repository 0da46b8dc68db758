"""The loss terms of CPMN, each a function of its own.

The abstract of CPMN (Bai et al., MICCAI 2024, arXiv 2407.11529) names the parts: joint segmentation and classification,
mutual learning of two pathways, Inter-Feature Alignment (IFA), Intra-Feature Discrepancy (IFD). Only the abstract was
at hand, and it gives no formulas. Each term here takes the closest published formulation, named in its docstring; what
has no source is marked "ours".

Tensors are (batch, channels, z, y, x). Every term is a mean over voxels, so that its weight does not depend on the
patch size. Every term is finite and, where there is nothing to compare, exactly zero.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

DICE_SMOOTHING = 1.0  # ours: keeps the term calm on batches with a handful of clot voxels
ALIGNMENT_TEMPERATURE = 0.1  # ours: as usual for softmax over cosine similarities
ALIGNMENT_PLACES = 8  # ours: at most 8 x 8 x 8 = 512 places of a patch are told apart
AFFINITY_TEMPERATURE = 0.1  # ours: as usual for softmax over cosine similarities
AFFINITY_CELLS = 6  # ours: grids are pooled to at most 6 x 6 x 6 = 216 cells, so the affinity has 216^2 entries
MARGIN = 0.25  # ours: features pass a leaky ReLU, so unrelated ones have cosines near but above 0
RING_VOXELS = 2  # ours: width of the background ring round a clot, in working voxels

Constant = Literal["peer", "ctpa", "none"]


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Soft Dice loss over all voxels of the batch together (Milletari 2016; batch Dice as in nnU-Net).

        1 - (2 sum w p t + s) / (sum w p + sum w t + s),   p = sigmoid(logits), s = DICE_SMOOTHING

    Pooled over the batch, patches without clot do not dominate. `weight` w of each voxel (ours), 1 if None. Scalar.
    """
    probability = torch.sigmoid(logits)
    weighted = target if weight is None else weight * target
    overlap = 2 * (probability * weighted).sum() + DICE_SMOOTHING
    predicted = probability if weight is None else weight * probability
    return 1 - overlap / (predicted.sum() + weighted.sum() + DICE_SMOOTHING)


def segmentation_loss(
    logits: Tensor, deep_logits: Sequence[Tensor], target: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Dice + binary cross-entropy with deep supervision, weights 1, 1/2, 1/4, ... normalised (nnU-Net).

    `target`, of the shape of `logits`, is 0/1 or a probability, of which 0.5 and more counts as clot. For coarser
    levels it is max-pooled (ours), so that no clot vanishes there. Scalar.

    `weight` of each voxel's label (ours; None is 1) scales its share of both terms. On coarser levels a voxel with clot
    weighs as much as its heaviest clot voxel, one without clot as the mean of what it covers.

    MONAI's DiceCELoss says the same of one level, but knows no weight of a voxel. Its DeepSupervisionLoss takes the
    nearest voxel on coarser levels, where small clots vanish (`python -m benchmarks libraries`).
    """
    total, weights = logits.new_zeros(()), 0.0
    for level, prediction in enumerate([logits, *deep_logits]):
        pooled, heavy = _pooled_labels(target, weight, prediction.shape[2:]) if level else (target, weight)
        share = 0.5**level
        cross_entropy = functional.binary_cross_entropy_with_logits(prediction, pooled, heavy)
        total, weights = total + share * (dice_loss(prediction, pooled, heavy) + cross_entropy), weights + share
    return total / weights


def _pooled_labels(target: Tensor, weight: Tensor | None, size: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    stride = [n // m for n, m in zip(target.shape[2:], size, strict=True)]
    pooled = functional.max_pool3d(target, stride, stride)
    if weight is None:
        return pooled, None
    marked = (target >= 0.5).to(weight)
    heaviest = functional.max_pool3d(marked * weight, stride, stride)
    return pooled, torch.where(pooled >= 0.5, heaviest, functional.avg_pool3d(weight, stride, stride))


def classification_loss(class_logit: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of the class logits (batch,) against 0/1 `label` (batch,). Scalar.

        mean_b w_b [log(1 + exp(x_b)) - y_b x_b]

    `weight` w (batch,) scales each patch's share (ours), 1 if None.
    """
    return functional.binary_cross_entropy_with_logits(class_logit, label, weight)


def bernoulli_divergence(teacher_logits: Tensor, student_logits: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over elements of KL(teacher || student) of Bernoulli distributions given by their logits. Scalar.

        p log(p / q) + (1 - p) log((1 - p) / (1 - q)),   p = sigmoid(teacher), q = sigmoid(student)

    Gradients flow to both sides: detach the teacher where it is to be a constant. `weight` scales each element's share,
    1 if None.
    """
    positive = functional.logsigmoid(teacher_logits) - functional.logsigmoid(student_logits)
    negative = functional.logsigmoid(-teacher_logits) - functional.logsigmoid(-student_logits)
    probability = torch.sigmoid(teacher_logits)
    divergence = probability * positive + (1 - probability) * negative
    return (divergence if weight is None else weight * divergence).mean()


def compared(
    term: Callable[[Tensor, Tensor], Tensor],
    first: Tensor,
    second: Tensor,
    constant: Constant = "peer",
    symmetric: bool = False,
) -> Tensor:
    """Compare the pathways' values by `term`(student, teacher), in one way or both. Scalar.

    Parameters
    ----------
    first, second : values of the NCT and of the CTPA pathway.
    constant : which side gets no gradient (the choice is ours).
        "peer": term(first, second) + term(second, first), the teacher constant each time, as in deep mutual learning;
        "ctpa": term(first, second) alone, `second` constant: the CTPA pathway only teaches;
        "none": the same sum as "peer", and both sides learn from both terms.
    symmetric : whether term(a, b) equals term(b, a). Then it is computed once, with value and gradients of the sum.
    """
    if constant == "ctpa":
        return term(first, second.detach())
    if symmetric:
        value = term(first, second)
        return value + (value.detach() if constant == "peer" else value)
    if constant == "peer":
        return term(first, second.detach()) + term(second, first.detach())
    return term(first, second) + term(second, first)


def mutual_loss(first: Tensor, second: Tensor, constant: Constant = "peer", weight: Tensor | None = None) -> Tensor:
    """Deep mutual learning (Zhang 2018, CVPR) of two pathways' logits of one task, see `compared`. Scalar.

        D(sg z2 || z1) + D(sg z1 || z2),   D = `bernoulli_divergence`, sg = constant

    `first` and `second` z are segmentation logits (batch, 1, z, y, x) or class logits (batch,). `weight` is of their
    shape and scales each element's share (ours; None is 1): what the NCT cannot show is to be learnt neither from the
    peer nor from the label. A mean, because `F.kl_div(reduction="batchmean")` would grow with the patch volume.
    """

    def divergence(student: Tensor, teacher: Tensor) -> Tensor:
        return bernoulli_divergence(teacher, student, weight)

    return compared(divergence, first, second, constant)


def alignment_loss(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    tolerance: int = 0,
    constant: Constant = "peer",
    weight: Tensor | None = None,
) -> Tensor:
    """Inter-Feature Alignment: each place of a patch must be found again in the other phase, both ways. Scalar.

        mean_l mean_i [ -log softmax_j(cos(F1_l(i), sg F2_l(j)) / ALIGNMENT_TEMPERATURE)_i / log n ] + the other way

    InfoNCE (van den Oord et al., arXiv 1807.03748) over the n places of a patch, as dense contrastive learning has it
    (Wang et al., CVPR 2021). Channels are centred over the places (ours): what all share tells none apart. 1 is chance,
    whatever the size of the patch. `first` and `second` are the pathways' features (batch, channels, z, y, x) by level,
    pooled to at most `ALIGNMENT_PLACES` places per axis.

    tolerance : registration is never exact, so that places within so many of each other are not told apart.
    weight : (batch, 1, z, y, x) at full resolution, scales each place's share (ours; None is 1). Coarser levels take
        its mean.

    The pathways must not see a patch in the same place of their field of view, or they learn where in the patch a place
    lies and not what lies there: the CTPA's patches are mirrored (`Batch.mirrored`). `python -m study retrieval` tells
    the own CTPA from another patient's.
    """

    def distance(student: Tensor, teacher: Tensor) -> Tensor:
        return _weighted_mean(_place_entropy(student, teacher, tolerance), weight)

    ways = [compared(distance, unit_places(a), unit_places(b), constant) for a, b in zip(first, second, strict=True)]
    return torch.stack(ways).mean()


def unit_places(features: Tensor) -> Tensor:
    """Unit features (batch, channels, z, y, x) of places, channels centred over them.

    Pooled and not sampled: with every second voxel a mirrored patch would give itself away by its odd ones.
    """
    depth, height, width = (min(n, ALIGNMENT_PLACES) for n in features.shape[2:])
    places = functional.adaptive_avg_pool3d(_exact(features), (depth, height, width))
    return functional.normalize(places - places.mean((2, 3, 4), keepdim=True), dim=1)


def _place_entropy(student: Tensor, teacher: Tensor, tolerance: int) -> Tensor:
    """Cross-entropy (batch, z, y, x) of finding each of the student's places among the teacher's, 1 at chance."""
    depth, height, width = student.shape[2:]
    with torch.autocast(student.device.type, enabled=False):
        likeness = student.flatten(2).transpose(1, 2) @ teacher.flatten(2) / ALIGNMENT_TEMPERATURE
    if tolerance:
        apart = places_apart(student)
        likeness = likeness.masked_fill((apart > 0) & (apart <= tolerance), -math.inf)
    entropy = likeness.logsumexp(-1) - likeness.diagonal(dim1=1, dim2=2)
    return (entropy / math.log(max(2, depth * height * width))).unflatten(1, (depth, height, width))


def places_apart(features: Tensor) -> Tensor:
    """Steps (n, n) along the longest axis between each two places of `features` (batch, channels, z, y, x)."""
    places = torch.cartesian_prod(*(torch.arange(n, device=features.device) for n in features.shape[2:]))
    return (places[:, None] - places[None]).abs().amax(-1)


def _weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of `values` (batch, z, y, x), each times the mean of the `weight` (batch, 1, z, y, x) that it covers."""
    if weight is None:
        return values.mean()
    depth, height, width = values.shape[1:]
    return (values * functional.adaptive_avg_pool3d(weight, (depth, height, width))[:, 0]).mean()


def affinity_loss(first: Tensor, second: Tensor, constant: Constant = "peer", weight: Tensor | None = None) -> Tensor:
    """Agreement of how each place relates to every other, the *spatial contiguity* in IFA, see `compared`. Scalar.

        mean_i ||A1_i - sg A2_i||^2 + mean_i ||sg A1_i - A2_i||^2,   A = softmax_rows(F F^T / AFFINITY_TEMPERATURE)

    F are unit feature vectors on a grid pooled to at most `AFFINITY_CELLS` per axis. Affinity matching is known from
    structured knowledge distillation (Liu et al., CVPR 2019); the softmax, the temperature and the grid are ours.
    `weight` as in `alignment_loss`: a place's row counts by its mean. The objective compares the coarsest features
    alone, and the term is small: 0.00002 of a loss of 0.9 at its default weight (docs/protocol.md).
    """
    cells = [min(n, AFFINITY_CELLS) for n in first.shape[2:]]

    def distance(student: Tensor, teacher: Tensor) -> Tensor:
        return _weighted_mean(((student - teacher) ** 2).sum(-1).unflatten(1, cells), weight)

    return compared(distance, _affinity(first, cells), _affinity(second, cells), constant, symmetric=True)


def _affinity(features: Tensor, cells: Sequence[int]) -> Tensor:
    """Row-wise softmax over cosines of pooled places, (batch, n, n) with n the product of `cells` (z, y, x)."""
    depth, height, width = cells
    pooled = functional.adaptive_avg_pool3d(_exact(features), (depth, height, width)).flatten(2)
    unit = functional.normalize(pooled, dim=1)
    with torch.autocast(features.device.type, enabled=False):
        return torch.softmax(unit.transpose(1, 2) @ unit / AFFINITY_TEMPERATURE, dim=-1)


def _exact(features: Tensor) -> Tensor:
    """At least in float32, whatever autocast made of them: cosines near 1 differ by less than bfloat16's 0.004."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


def discrepancy_loss(features: Tensor, clot: Tensor, backgrounds: Sequence[Tensor], margin: float = MARGIN) -> Tensor:
    """Intra-Feature Discrepancy: clot features must not resemble those of hard background. Scalar.

        mean over patches with clot and over backgrounds of w max(0, cos(mu_clot, mu_background) - margin)

    mu are means of `features` over a mask (masked average pooling). Masks are (batch, 1, z, y, x), 0/1 or weights
    between, of the features' size. w is the patch's heaviest clot voxel (ours): a cosine has no scale, and a faint clot
    would count fully. A patch whose clot or background is empty contributes nothing; without any clot the loss is 0.

    Kin: the foreground/background contrast of ConDSeg (Lei et al., arXiv 2412.08345). Ours are the margin and which
    backgrounds are hard: the ring round the clot, and clot-free vessel.
    """
    total, count = features.new_zeros(()), features.new_zeros(())
    foreground, heaviest = _masked_mean(features, clot), clot.flatten(1).amax(1)
    for background in backgrounds:
        share = heaviest * (background.flatten(1).amax(1) > 0)
        cosine = functional.cosine_similarity(foreground, _masked_mean(features, background), dim=1)
        total = total + (functional.relu(cosine - margin) * share).sum()
        count = count + (share > 0).sum()
    return total / count.clamp_min(1.0)


def _masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    return (features * mask).flatten(2).sum(-1) / mask.flatten(2).sum(-1).clamp_min(1.0)


def background_ring(clot: Tensor, width: int = RING_VOXELS) -> Tensor:
    """Voxels within `width` (in the maximum norm) of a clot but outside it; 0/1, like `clot` (batch, 1, z, y, x)."""
    size = 2 * width + 1
    return functional.max_pool3d(clot, size, stride=1, padding=width) - clot


def ramp(step: int, steps: int, fraction: float) -> float:
    """Weight of the extra terms at `step` (from 0) of `steps`: rises linearly to 1 over `fraction` of them (ours)."""
    return min(1.0, (step + 1) / max(1.0, fraction * steps))
