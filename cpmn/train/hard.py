"""Hard negatives: where a network in training all but marks clots in patients without PE, so that it sees these again.

Patches drawn at random show most places of a volume seldom: 3,000 steps of the study less than once. The network then
marks as much in the normals that it was trained on as in others. Reading them whole and training on what is wrong is
the bootstrapping of Sung and Poggio (IEEE PAMI 1998), which Shrivastava et al. review (CVPR 2016, arXiv 1604.03540).

These places depend on the weights: variants with the same seed share patches until they are looked for, and not after.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from cpmn.config.train import Phase, Spacing, TrainConfig
from cpmn.model.network import Pathway
from cpmn.train.processes import World
from cpmn.train.subjects import Subject, candidates
from cpmn.train.training import Training
from cpmn.train.validation import read_subject

logger = logging.getLogger(__name__)

PROBABILITY = 0.3  # ours: what is nearly marked is as instructive as what is
OVERLAP = 0.0  # ours: places are sought, not outlines


def hard_steps(config: TrainConfig) -> list[int]:
    """Steps before which hard negatives are looked for: after a third and two thirds of what follows pretraining.

    None before the network has learnt a step of its own.
    """
    if not config.sampling.hard_fraction:
        return []
    first, last = config.schedule.pretraining_steps, config.schedule.steps
    return sorted({first + (last - first) * thirds // 3 for thirds in (1, 2)} - {first})


def normals(subjects: Sequence[Subject], phase: Phase) -> list[Subject]:
    """Patients without PE who have the `phase`: those in whom hard negatives are looked for."""
    return [one for one in subjects if not one.label and getattr(one, phase) is not None]


def find_hard(
    state: Training,
    subjects: Sequence[Subject],
    spacing: Spacing,
    config: TrainConfig,
    device: torch.device,
    world: World,
) -> dict[str, Tensor]:
    """Voxels (n, 3), int16 (z, y, x), of each patient without PE to which the network gives `PROBABILITY`, or once did.

    What was found before stays: a network that has just learnt to mark nothing there would forget it again. At most
    `CANDIDATES` of a patient, evenly taken; patients with none are left out. The network is the one that reads
    scans in the end, without its average.
    """
    pathway = cast(Pathway, state.pathways[state.reads])
    normal = normals(subjects, state.reads)
    pathway.eval()
    found = []
    for subject in world.share(normal):
        output = read_subject(pathway, subject, spacing, config, device, state.reads, OVERLAP)
        wrong = (output.probability >= PROBABILITY).cpu().numpy()
        if subject.patient in state.hard:
            wrong[tuple(state.hard[subject.patient].T.numpy())] = True
        found.append(torch.from_numpy(candidates(wrong)))
    pathway.train()
    hard = {one.patient: voxels for one, voxels in zip(normal, world.gather(found), strict=True) if len(voxels)}
    logger.info("step %d: hard negatives in %d of %d patients without PE", state.step, len(hard), len(normal))
    return hard


def with_hard(subjects: Sequence[Subject], hard: dict[str, Tensor]) -> list[Subject]:
    """The subjects with their hard negatives as patch centres."""
    return [replace(one, hard_voxels=hard[one.patient].numpy()) if one.patient in hard else one for one in subjects]
