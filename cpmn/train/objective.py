"""The training objective: the loss terms of `cpmn.model.losses`, weighted; a term of weight zero is not computed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from cpmn.config.train import TrainConfig
from cpmn.config.train.loss import LossConfig
from cpmn.model.losses import (
    affinity_loss,
    alignment_loss,
    background_ring,
    classification_loss,
    discrepancy_loss,
    mutual_loss,
    ramp,
    segmentation_loss,
)
from cpmn.model.network import PathwayOutput
from cpmn.train.sampling import Batch, PhasePatches, times
from cpmn.train.visibility import shown_weight

ALIGNMENT_LEVEL = 1  # ours: the finest that is aligned; full resolution is the most phase-specific
AFFINITY_WEIGHT = 0.1  # ours: of the affinity term inside Inter-Feature Alignment
PARTS = (
    "total",
    "segmentation",
    "classification",
    "discrepancy",
    "segmentation_ctpa",
    "classification_ctpa",
    "discrepancy_ctpa",
    "taught",
    "mutual",
    "alignment",
    "affinity",
)
"""Names of the loss parts in `history.csv`, there with the prefix `train_`. Parts are given before their weights."""


class Pathways(nn.ModuleDict):
    """The networks by phase, "nct" and perhaps "ctpa", as one module: a batch in, their outputs by phase."""

    def forward(self, batch: Batch) -> dict[str, PathwayOutput]:
        outputs = {} if batch.nct is None else {"nct": self["nct"](batch.nct.patches)}
        if batch.ctpa is None:
            return outputs
        patches = batch.ctpa.patches.flip(batch.mirrored) if batch.mirrored else batch.ctpa.patches
        return outputs | {"ctpa": self["ctpa"](patches).mirrored(batch.mirrored)}


@dataclass(frozen=True)
class Objective:
    """Collects weighted parts, each times `share`. `add` calls `compute` only for a weight above zero."""

    parts: dict[str, Tensor] = field(default_factory=dict)
    weighted: list[Tensor] = field(default_factory=list)
    share: float = 1.0

    def add(self, name: str, weight: float, compute: Callable[[], Tensor]) -> None:
        if weight > 0:
            self.parts[name] = compute()
            self.weighted.append(self.share * weight * self.parts[name])

    def of(self, share: float) -> "Objective":
        """The same collection, for what is said of this share of the batch alone."""
        return replace(self, share=share)


def training_loss(
    networks: Callable[[Batch], Mapping[str, PathwayOutput]], batch: Batch, config: TrainConfig, step: int
) -> dict[str, Tensor]:
    """Loss parts of a step (scalars), among them `total`, the one to descend.

        total = sum over pathways [segmentation + w_c classification + r w_d discrepancy]
                + r w_t taught + r w_m mutual + r w_a (alignment + AFFINITY_WEIGHT affinity)

    with r the warm-up's ramp. `networks` are `Pathways` or what wraps them. The second line compares the two phases and
    exists for patches of both only. What is said of some patches counts by their share of the batch, so that each
    counts alike however a step is cut into batches.
    """
    objective, rise = Objective(), ramp(step, config.schedule.steps, config.loss.warmup_fraction)
    outputs = networks(batch)
    if batch.nct is not None:
        _add_supervised(objective, outputs["nct"], batch.nct, config.loss, rise)
    if batch.ctpa is not None:
        share = len(batch.ctpa.patches) / len(batch)
        _add_supervised(objective.of(share), outputs["ctpa"], batch.ctpa, config.loss, rise, "_ctpa")
    compares = config.loss.alignment_weight > 0 or config.loss.mutual_weight > 0
    if batch.paired and batch.ctpa is not None and (compares or batch.lacks_outlines):
        nct, ctpa = _rows(outputs["nct"], batch.paired), _rows(outputs["ctpa"], range(len(batch.paired)))
        paired = objective.of(len(batch.paired) / len(batch))
        if batch.lacks_outlines and config.sampling.ctpa_source != "shuffled":  # nobody learns another patient's clots
            _add_teaching(paired, nct, ctpa, batch, config, rise)
        if compares:
            _add_comparisons(paired, nct, ctpa, batch, config.loss, rise)
    total = sum(objective.weighted, start=next(iter(outputs.values())).logits.new_zeros(()))
    if not config.loss.classification_weight:  # several processes average gradients of all that there is an output of
        total = total + 0 * sum(output.class_logit.sum() for output in outputs.values())
    return {"total": total, **objective.parts}


def _add_supervised(
    objective: Objective, output: PathwayOutput, phase: PhasePatches, config: LossConfig, rise: float, suffix: str = ""
) -> None:
    objective.add(
        f"segmentation{suffix}",
        1.0,
        lambda: segmentation_loss(output.logits, output.deep_logits, phase.clot, phase.weight),
    )
    objective.add(
        f"classification{suffix}",
        config.classification_weight,
        lambda: classification_loss(output.class_logit, phase.present, phase.present_weight()),
    )

    def discrepancy() -> Tensor:
        ring = background_ring(phase.clot)
        backgrounds = [ring, phase.vessel * (1 - ring)]
        clot = phase.clot if phase.weight is None else phase.clot * phase.weight
        if phase.weight is not None:  # on the CTPA 0 where it does not reach
            backgrounds = [background * phase.weight for background in backgrounds]
        return discrepancy_loss(output.features[0], clot, backgrounds)

    objective.add(f"discrepancy{suffix}", rise * config.discrepancy_weight, discrepancy)


def _add_teaching(
    objective: Objective, nct: PathwayOutput, ctpa: PathwayOutput, batch: Batch, config: TrainConfig, rise: float
) -> None:
    """Where no outline tells, the NCT pathway learns from what the CTPA's reads, never the other way.

    A voxel weighs by the reader's certainty |2p - 1|, by where the CTPA reaches, and by how well the NCT shows the clot
    that was read (as labels do, `label_weight`).
    """
    patches = batch.nct
    assert patches is not None
    told = patches.told()
    assert patches.known is not None
    assert told is not None
    unknown, untold = 1 - patches.known[batch.paired], 1 - told[batch.paired]

    def taught() -> Tensor:
        read, sure = torch.sigmoid(ctpa.logits.detach()), torch.sigmoid(ctpa.class_logit.detach())
        weight, share = unknown * (2 * read - 1).abs(), untold * (2 * sure - 1).abs()
        if batch.reached is not None:
            weight, share = weight * batch.reached, share * batch.reached.flatten(1).mean(1)
        if config.loss.visibility_floor < 1:
            weight = weight * shown_weight(patches.patches[batch.paired], read, batch.spacing, config)
        segmentation = segmentation_loss(nct.logits, nct.deep_logits, read, weight)
        return segmentation + config.loss.classification_weight * classification_loss(nct.class_logit, sure, share)

    objective.add("taught", rise * config.loss.teaching_weight, taught)


def _add_comparisons(
    objective: Objective, nct: PathwayOutput, ctpa: PathwayOutput, batch: Batch, config: LossConfig, rise: float
) -> None:
    """Both tasks learn from the peer, as far as the NCT's labels weigh; features align from `ALIGNMENT_LEVEL` down.

    Where the CTPA does not reach there is nothing to compare. Where no outline tells anything of a patch its CTPA's
    features are constant: there the CTPA teaches.
    """
    constant, levels, reached = config.constant, slice(ALIGNMENT_LEVEL, None), batch.reached
    assert batch.nct is not None
    told = batch.nct.told()
    witness = ctpa.features if told is None else [_constant_but(level, told[batch.paired]) for level in ctpa.features]

    def alignment() -> Tensor:
        return alignment_loss(nct.features[levels], witness[levels], config.alignment_tolerance, constant, reached)

    def affinity() -> Tensor:
        return affinity_loss(nct.features[-1], witness[-1], constant, reached)

    weight = rise * config.alignment_weight
    objective.add("mutual", rise * config.mutual_weight, lambda: _mutual(nct, ctpa, batch, config))
    objective.add("alignment", weight, alignment)
    objective.add("affinity", weight * AFFINITY_WEIGHT, affinity)


def _constant_but(features: Tensor, learns: Tensor) -> Tensor:
    """`features` (batch, channels, z, y, x) that take a gradient in the patches that `learns` (batch,), 0/1, names."""
    return torch.where(learns.bool()[:, None, None, None, None], features, features.detach())


def _mutual(nct: PathwayOutput, ctpa: PathwayOutput, batch: Batch, config: LossConfig) -> Tensor:
    """Of both tasks, as far as the NCT's labels weigh: what no outline tells is taught one way."""
    share = None if batch.reached is None else batch.reached.flatten(1).mean(1)
    assert batch.nct is not None
    weight, *known = (
        None if values is None else values[batch.paired]
        for values in (batch.nct.weight, batch.nct.present_weight(), batch.nct.told())
    )
    voxels, patches = times(weight, batch.reached), times(times(*known), share)
    segmentation = mutual_loss(nct.logits, ctpa.logits, config.constant, voxels)
    return segmentation + mutual_loss(nct.class_logit, ctpa.class_logit, config.constant, patches)


def _rows(output: PathwayOutput, rows: Sequence[int]) -> PathwayOutput:
    """The output for some patches of the batch."""
    if len(rows) == len(output.logits):
        return output
    index = torch.tensor(list(rows), device=output.logits.device)
    return PathwayOutput(
        output.logits[index],
        [level[index] for level in output.deep_logits],
        [level[index] for level in output.features],
        output.evidence[index],
        output.class_logit[index],
    )
