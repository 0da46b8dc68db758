"""Validation of the NCT pathway on whole crops."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cpmn.config.train import Spacing, TrainConfig
from cpmn.images import AIR_HU
from cpmn.inference import predict_volume
from cpmn.losses import classification_loss, dice_loss
from cpmn.network import Pathway
from cpmn.plan import normalise
from cpmn.train.cases import Case
from cpmn.train.processes import World

OVERLAP = 0.25  # our choice: half of what evaluation uses, since curves need less than results
THRESHOLD = 0.5
ALONE = World()


def validate(
    pathway: Pathway,
    cases: Sequence[Case],
    spacing: Spacing,
    config: TrainConfig,
    device: torch.device,
    world: World = ALONE,
) -> dict[str, float | None]:
    """`validation_{loss,dice,auc,score}` on the working grid (`spacing`); None if undefined. `world` shares the cases.

    loss : mean over patients of Dice + cross-entropy + classification_weight x class cross-entropy, on whole crops.
    dice : mean over PE patients at probability 0.5; no prediction counts 0.
    auc : of the patients' class logits; None unless there are patients of both classes.
    score : what early stopping follows: mean of dice and auc, the two tasks' goals (our choice); None without auc.
    """
    pathway.eval()
    rows = world.gather([_validate_case(pathway, case, spacing, config, device) for case in world.share(cases)])
    pathway.train()
    losses, dices, logits = (np.array([row[i] for row in rows]) for i in range(3))
    positive = np.array([case.label for case in cases], bool)
    dice = float(dices[positive].mean()) if positive.any() else None
    auc = rank_auc(logits[positive], logits[~positive])
    return {
        "validation_loss": float(losses.mean()) if len(rows) else None,
        "validation_dice": dice,
        "validation_auc": auc,
        "validation_score": (dice + auc) / 2 if dice is not None and auc is not None else None,
    }


def rank_auc(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """Share of (positive, negative) pairs in the right order, ties counting a half; None without pairs."""
    if not positive.size or not negative.size:
        return None
    difference = positive[:, None] - negative[None]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _validate_case(
    pathway: Pathway, case: Case, spacing: Spacing, config: TrainConfig, device: torch.device
) -> tuple[float, float, float]:
    def intensities(hu: np.ndarray) -> np.ndarray:
        return normalise(hu, case.window_center, config.window_scale, config.clip)

    volume = torch.from_numpy(intensities(np.asarray(case.nct))).to(device)
    background = float(intensities(np.array([AIR_HU]))[0])
    output = predict_volume(pathway, volume, spacing, config.patch_size, overlap=OVERLAP, background=background)
    clot = torch.from_numpy(np.array(case.embolus)).to(device, torch.float32)
    label = torch.tensor([float(case.label)], device=device)
    loss = _segmentation(output.probability, clot)
    loss = loss + config.classification_weight * classification_loss(output.class_logit[None], label)
    return float(loss), _dice(output.probability >= THRESHOLD, clot > 0), float(output.class_logit)


def _segmentation(probability: Tensor, clot: Tensor) -> Tensor:
    logits = torch.logit(probability, eps=1e-6)
    return dice_loss(logits, clot) + torch.nn.functional.binary_cross_entropy_with_logits(logits, clot)


def _dice(predicted: Tensor, reference: Tensor) -> float:
    total = int(predicted.sum() + reference.sum())
    return 2 * int((predicted & reference).sum()) / total if total else 0.0
