"""Whole volumes read by a pathway in training, and the validation on them."""

from collections.abc import Sequence

import numpy as np
import torch

from cpmn.config.train import Phase, Spacing, TrainConfig
from cpmn.model.devices import mixed_precision
from cpmn.model.inference import VolumeOutput, predict_volume
from cpmn.model.losses import classification_loss, segmentation_loss
from cpmn.model.network import Pathway
from cpmn.scoring import metrics, overlap
from cpmn.scoring.lesions import components
from cpmn.train.processes import ALONE, World
from cpmn.train.subjects import Subject
from cpmn.volume.grid import normalise
from cpmn.volume.images import AIR_HU

OVERLAP = 0.25  # our choice: half of what evaluation uses, since curves need less than results
THRESHOLD = 0.5


def validate(
    pathway: Pathway,
    subjects: Sequence[Subject],
    spacing: Spacing,
    config: TrainConfig,
    device: torch.device,
    world: World = ALONE,
    phase: Phase = "nct",
) -> dict[str, float | None]:
    """`validation_{loss,dice,auc}` on the working grid (`spacing`); None if undefined; `world` shares them.

    Of those `subjects` alone that have the pathway's `phase`; names of the CTPA's end in `_ctpa`.

    loss : mean over patients of Dice + cross-entropy + classification_weight x class cross-entropy, on whole crops; the
        class alone where nobody outlined the patient's clots.
    dice : mean over PE patients with clot in the crop, at probability 0.5; no prediction counts 0.
    auc : of the patients' class logits; None unless there are patients of both classes.
    found : share of the connected clots of those PE patients that a marked voxel touches.
    """
    subjects = [subject for subject in subjects if getattr(subject, phase) is not None]
    pathway.eval()
    rows = world.gather(
        [_validate_subject(pathway, one, spacing, config, device, phase) for one in world.share(subjects)]
    )
    pathway.train()
    losses, dices, logits, clots, hits = (np.array([row[i] for row in rows]) for i in range(5))
    labels = np.array([subject.label for subject in subjects], int)
    asked = np.array([subject.shows_clot for subject in subjects], bool)
    dice = float(dices[asked].mean()) if asked.any() else None
    auc = metrics.area(labels, logits) if 0 < labels.sum() < len(labels) else None
    touched = float(hits[asked].sum() / clots[asked].sum()) if asked.any() else None
    found = {"loss": float(losses.mean()) if len(rows) else None, "dice": dice, "auc": auc, "found": touched}
    return {f"validation_{name}{'' if phase == 'nct' else '_ctpa'}": value for name, value in found.items()}


def read_subject(
    pathway: Pathway,
    subject: Subject,
    spacing: Spacing,
    config: TrainConfig,
    device: torch.device,
    phase: Phase,
    overlap: float = OVERLAP,
) -> VolumeOutput:
    """What a pathway in training makes of a subject's whole `phase`, on the working grid (`spacing`)."""
    center, scale = config.network.window(phase)
    center = subject.window_center if phase == "nct" else center

    def intensities(hu: np.ndarray) -> np.ndarray:
        return normalise(hu, center, scale, config.network.clip)

    volume = torch.from_numpy(intensities(np.asarray(getattr(subject, phase)))).to(device)
    background = float(intensities(np.array([AIR_HU]))[0])
    patch = config.network.patch_size
    with mixed_precision(device, config.machine.bfloat16):
        return predict_volume(pathway, volume, spacing, patch, overlap=overlap, background=background)


def _validate_subject(
    pathway: Pathway, subject: Subject, spacing: Spacing, config: TrainConfig, device: torch.device, phase: Phase
) -> tuple[float, float, float, int, int]:
    output = read_subject(pathway, subject, spacing, config, device, phase)
    clot = torch.from_numpy(np.array(subject.embolus)).to(device, torch.float32)
    label = torch.tensor([float(subject.label)], device=device)
    logits = torch.logit(output.probability, eps=1e-6)
    loss = segmentation_loss(logits[None, None], [], clot[None, None]) if subject.outlined else 0.0
    loss = loss + config.loss.classification_weight * classification_loss(output.class_logit[None], label)
    marked = (output.probability >= THRESHOLD).cpu().numpy()
    embolus = np.asarray(subject.embolus)
    clots = components(embolus, spacing)
    hits = len(np.unique(clots[marked & (embolus > 0)]))
    return float(loss), overlap.dice(marked, embolus), float(output.class_logit), int(clots.max()), hits
