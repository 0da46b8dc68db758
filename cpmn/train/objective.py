"""The training objective: the loss terms of `cpmn.model.losses`, weighted; a term of weight zero is not computed."""

from collections.abc import Callable, Mapping
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
from cpmn.train.sampling import Batch, PhasePatches

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
    "mutual",
    "alignment",
    "affinity",
)
"""Names of the loss parts in `history.csv`, there with the prefix `train_`. Parts are given before their weights."""


class Pathways(nn.ModuleDict):
    """The networks by phase, "nct" and perhaps "ctpa", as one module: a batch in, their outputs by phase."""

    def forward(self, batch: Batch) -> dict[str, PathwayOutput]:
        phases = {"nct": batch.nct, "ctpa": batch.ctpa}
        return {name: self[name](phase.patches) for name, phase in phases.items() if phase is not None}


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
                + r w_m mutual + r w_a (alignment + AFFINITY_WEIGHT affinity)

    with r the warm-up's ramp. `networks` are `Pathways` or what wraps them. The second line compares the two phases and
    exists for patches with a CTPA only. What is said of these counts by their share of the batch, so that each patch
    counts alike however a step is cut into batches.
    """
    objective, rise = Objective(), ramp(step, config.schedule.steps, config.loss.warmup_fraction)
    outputs = networks(batch)
    nct = outputs["nct"]
    _add_supervised(objective, nct, batch.nct, config.loss, rise)
    if batch.ctpa is not None:
        paired = objective.of(len(batch.paired) / len(batch.nct.patches))
        ctpa = outputs["ctpa"]
        _add_supervised(paired, ctpa, batch.ctpa, config.loss, rise, "_ctpa")
        if config.loss.alignment_weight > 0 or config.loss.mutual_weight > 0:
            _add_comparisons(paired, _rows(nct, batch.paired), ctpa, batch, config.loss, rise)
    total = sum(objective.weighted, start=batch.nct.patches.new_zeros(()))
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


def _add_comparisons(
    objective: Objective, nct: PathwayOutput, ctpa: PathwayOutput, batch: Batch, config: LossConfig, rise: float
) -> None:
    """Both tasks learn from the peer, as far as the NCT's labels weigh; features align from `ALIGNMENT_LEVEL` down.

    Where the CTPA does not reach there is nothing to compare.
    """
    constant, levels, reached = config.constant, slice(ALIGNMENT_LEVEL, None), batch.reached

    def alignment() -> Tensor:
        return alignment_loss(
            nct.features[levels], ctpa.features[levels], config.alignment_tolerance, constant, reached
        )

    def affinity() -> Tensor:
        return affinity_loss(nct.features[-1], ctpa.features[-1], constant, reached)

    weight = rise * config.alignment_weight
    objective.add("mutual", rise * config.mutual_weight, lambda: _mutual(nct, ctpa, batch, config))
    objective.add("alignment", weight, alignment)
    objective.add("affinity", weight * AFFINITY_WEIGHT, affinity)


def _mutual(nct: PathwayOutput, ctpa: PathwayOutput, batch: Batch, config: LossConfig) -> Tensor:
    share = None if batch.reached is None else batch.reached.flatten(1).mean(1)
    voxels = _times(_paired(batch.nct.weight, batch), batch.reached)
    patches = _times(_paired(batch.nct.present_weight(), batch), share)
    segmentation = mutual_loss(nct.logits, ctpa.logits, config.constant, voxels)
    return segmentation + mutual_loss(nct.class_logit, ctpa.class_logit, config.constant, patches)


def _paired(weight: Tensor | None, batch: Batch) -> Tensor | None:
    """The NCT's label weights for the patches that have a CTPA."""
    return None if weight is None else weight[batch.paired]


def _times(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Product of weights; None is 1."""
    return second if first is None else first if second is None else first * second


def _rows(output: PathwayOutput, rows: list[int]) -> PathwayOutput:
    """The output for some patches of the batch."""
    if len(rows) == len(output.logits):
        return output
    index = torch.tensor(rows, device=output.logits.device)
    return PathwayOutput(
        output.logits[index],
        [level[index] for level in output.deep_logits],
        [level[index] for level in output.features],
        output.evidence[index],
        output.class_logit[index],
    )
