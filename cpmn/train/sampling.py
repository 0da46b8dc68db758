"""Patches of a training step, a pure function of (subjects, configuration, step)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from cpmn.anatomy.vessels import BLOOD_HU, OPACIFIED_HU
from cpmn.cohort.kinds import NEAR_MM
from cpmn.config.train import Phase, Spacing, TrainConfig
from cpmn.train.patches import augmented, cut, voxels_in_patch
from cpmn.train.places import Place, generator, sample_alone, sample_donors, sample_places
from cpmn.train.simulate import draw_contrast, insert_embolus
from cpmn.train.subjects import Subject
from cpmn.train.visibility import label_weight, patch_visibility
from cpmn.volume.grid import normalise
from cpmn.volume.images import AIR_HU
from cpmn.volume.voxels import within

SHOWN_SHARE = 0.5  # ours: a patch of which the CTPA shows less is one without CTPA

Weights = TypeVar("Weights", np.ndarray, Tensor)


@dataclass
class PhasePatches:
    """Patches of one phase, (batch, 1, z, y, x), and what is known of them.

    patches : normalised intensities; clot : 0/1; vessel : 0/1, blood-like and free of clot (hard background);
    present : (batch,) whether any clot lies in the patch, 0/1, or the chance of it where no outline tells;
    weight : of each voxel's label, None if all are 1; known : of `patches`' shape, 0/1, where it is known whether there
        is clot, None if everywhere.
    """

    patches: Tensor
    clot: Tensor
    vessel: Tensor
    present: Tensor
    weight: Tensor | None = None
    known: Tensor | None = None

    def present_weight(self) -> Tensor | None:
        """Weight of each patch's `present` (batch,): that of its heaviest clot voxel; None if all are 1."""
        if self.weight is None:
            return None
        heaviest = (self.weight * self.clot).flatten(1).amax(1)
        return torch.where(self.clot.flatten(1).amax(1) > 0, heaviest, torch.ones_like(heaviest))

    def told(self) -> Tensor | None:
        """Whether each patch's `present` is known and no chance (batch,), 0/1; None if all are."""
        return None if self.known is None else self.known.flatten(1).amax(1)

    def to(self, device: torch.device) -> "PhasePatches":
        required = (self.patches, self.clot, self.vessel, self.present)
        optional = (None if values is None else values.to(device) for values in (self.weight, self.known))
        return PhasePatches(*(values.to(device) for values in required), *optional)


@dataclass
class Batch:
    """One step's patches, each phase's None if there are none.

    paired : rows of `nct` that have a CTPA: its patches are the first of `ctpa`, in this order. Those of patients
        without an NCT follow.
    reached : (paired, 1, z, y, x) 0/1, where the CTPA shows something; None if that is everywhere.
    spacing : of all patches, (x, y, z) in mm.
    mirrored : axes along which the CTPA pathway sees its patches flipped where the other reads beside it, so that no
        pathway tells a place by where in the patch it lies. What it returns is flipped back.
    """

    nct: PhasePatches | None
    ctpa: PhasePatches | None
    paired: list[int]
    reached: Tensor | None = None
    spacing: Spacing = (1.0, 1.0, 1.0)
    mirrored: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Patches that the reader's pathway learns from: what each term is a share of."""
        phase = self.ctpa if self.nct is None else self.nct
        return 0 if phase is None else len(phase.patches)

    @property
    def lacks_outlines(self) -> bool:
        """Whether pairs are among the patches of which it is not known everywhere whether there is clot."""
        known = None if self.nct is None else self.nct.known
        return known is not None and not bool(known[self.paired].all())

    def to(self, device: torch.device) -> "Batch":
        nct, ctpa, reached = (
            None if values is None else values.to(device) for values in (self.nct, self.ctpa, self.reached)
        )
        return replace(self, nct=nct, ctpa=ctpa, reached=reached)


@dataclass
class Cut:
    """One place's patches in HU, (z, y, x): `clot` and `vessel` bool, `weight` of the labels or None if all are 1.

    `known` (bool) is where the labels hold, `reached` where the CTPA shows something; None is everywhere.
    """

    subject: Subject
    nct: np.ndarray | None
    ctpa: np.ndarray | None
    clot: np.ndarray
    vessel: np.ndarray
    weight: np.ndarray | None
    known: np.ndarray | None = None
    reached: np.ndarray | None = None


def sample_batch(subjects: Sequence[Subject], config: TrainConfig, step: int, part: int = 0) -> Batch:
    """Batch number `part` of `step`. On average `foreground_fraction` of its patches centre near a clot."""
    if step < config.schedule.pretraining_steps:
        return _pretraining_batch(subjects, config, step, part)
    reader, spacing = config.network.reader, subjects[0].spacing
    places = sample_places([one for one in subjects if getattr(one, reader) is not None], config, step, part)
    cuts = _cuts(places, config, step, generator(config, step, part, 6))
    read = _phase(cuts, reader, config, generator(config, step, part, 1))
    if reader == "ctpa":
        return Batch(None, read, [], spacing=spacing)
    if "ctpa" not in config.network.pathways:
        return Batch(read, None, [], spacing=spacing)
    noise = generator(config, step, part, 2)
    mirrored = tuple((2 + np.flatnonzero(generator(config, step, part, 17).random(3) < 0.5)).tolist())
    if config.sampling.ctpa_source == "nct":
        again = _phase(cuts, "nct", config, noise)
        return Batch(read, again, list(range(len(places))), spacing=spacing, mirrored=mirrored)
    paired = [row for row, place in enumerate(places) if place.subject.ctpa is not None and _is_shown(cuts[row])]
    fed = [cuts[row] for row in paired]
    if config.sampling.ctpa_source == "shuffled":
        donors = sample_donors([places[row] for row in paired], subjects, config, step, part)
        fed = _cuts(donors, config, step, generator(config, step, part, 7))
    alone = _cuts(sample_alone(subjects, config, step, part), config, step, generator(config, step, part, 9))
    if not fed + alone:
        return Batch(read, None, [], spacing=spacing)
    reached = _weights([one.reached for one in fed])
    return Batch(read, _phase(fed + alone, "ctpa", config, noise), paired, reached, spacing, mirrored)


def _is_shown(one: Cut) -> bool:
    """Whether the CTPA shows enough of a patch to be compared with."""
    return one.reached is None or float(one.reached.mean()) >= SHOWN_SHARE


def _pretraining_batch(subjects: Sequence[Subject], config: TrainConfig, step: int, part: int) -> Batch:
    """CTPA patches, in their own window, for the NCT pathway to start from."""
    places = sample_places([subject for subject in subjects if subject.ctpa is not None], config, step, part)
    cuts = _cuts(places, config, step, generator(config, step, part, 6))
    return Batch(_phase(cuts, "ctpa", config, generator(config, step, part, 1)), None, [], spacing=subjects[0].spacing)


def _cuts(places: Sequence[Place], config: TrainConfig, step: int, random: np.random.Generator) -> list[Cut]:
    return [_cut(place, config, step, random) for place in places]


def _cut(place: Place, config: TrainConfig, step: int, random: np.random.Generator) -> Cut:
    size, subject = config.network.patch_size[::-1], place.subject
    nct = cut(subject.nct, place, size, AIR_HU) if subject.nct is not None else None
    ctpa = cut(subject.ctpa, place, size, AIR_HU) if subject.ctpa is not None else None
    clot = cut(subject.embolus, place, size, 0, order=0) > 0
    vessel = _vessel(nct, ctpa, config) if config.loss.discrepancy_weight > 0 else np.zeros_like(clot)
    made = np.zeros_like(clot)
    inside = voxels_in_patch(np.array([place.embolus_at]), place, size) if place.embolus_at else ()
    for at in inside:  # one, unless scaling has moved it out
        contrast = draw_contrast(step, config, random)
        nct, ctpa, made = insert_embolus(nct, ctpa, at=at, spacing=subject.spacing, contrast=contrast, random=random)
    weight = _weight(place, clot, made, nct, config)
    reached = None if subject.reached is None else cut(subject.reached, place, size, 1, order=0) > 0
    clot |= made
    return Cut(subject, nct, ctpa, clot, vessel & ~clot, weight, _known(subject, clot), reached)


def _known(subject: Subject, clot: np.ndarray) -> np.ndarray | None:
    """Where the labels of a patch hold, bool, None if everywhere: nowhere without an outline.

    A network's outline tells of what it marks and of `NEAR_MM` about it. It passes over many clots: elsewhere nothing
    is known, or these would teach that clots are none.
    """
    return None if subject.complete else within(clot, NEAR_MM, subject.spacing)


def _weight(
    place: Place, clot: np.ndarray, made: np.ndarray, nct: np.ndarray | None, config: TrainConfig
) -> np.ndarray | None:
    """Label weights of a patch by how well its clots are seen, those `made` in `nct` among them; None for all alike."""
    subject = place.subject
    if subject.visibility is None or nct is None:
        return None
    seen = cut(subject.visibility, place, clot.shape, 0, order=0)
    if made.any():
        seen = np.where(made, patch_visibility(nct, made, subject.spacing, config.loss), seen)
    return label_weight(seen, clot | made, config.loss.visibility_floor)


def _vessel(nct: np.ndarray | None, ctpa: np.ndarray | None, config: TrainConfig) -> np.ndarray:
    """Vessel-like voxels: of blood's HU on NCT and, where the patient's own CTPA is in use, filled with contrast."""
    if nct is None:
        assert ctpa is not None
        return ctpa >= OPACIFIED_HU
    blood = (nct >= BLOOD_HU[0]) & (nct <= BLOOD_HU[1])
    own_ctpa = "ctpa" in config.network.pathways and config.sampling.ctpa_source == "ctpa"
    return blood & (ctpa >= OPACIFIED_HU) if own_ctpa and ctpa is not None else blood


def _phase(cuts: Sequence[Cut], phase: Phase, config: TrainConfig, noise: np.random.Generator) -> PhasePatches:
    center, scale = config.network.window(phase)
    images = []
    for one in cuts:
        hu, middle = (one.nct, one.subject.window_center) if phase == "nct" else (one.ctpa, center)
        assert hu is not None
        images.append(normalise(augmented(hu, config.augmentation, noise), middle, scale, config.network.clip))
    clot, vessel = (_tensor([getattr(one, name) for one in cuts]) for name in ("clot", "vessel"))
    if phase == "nct":
        weight = _weights([times(one.weight, one.known) for one in cuts])
    else:  # the CTPA shows each clot, as far as it reaches
        weight = _weights([times(one.reached, one.known) for one in cuts])
        if weight is not None:
            clot, vessel = clot * weight, vessel * weight
    holds = clot.flatten(1).amax(1)
    chance = torch.tensor([one.subject.clot_chance for one in cuts])
    complete = torch.tensor([one.subject.complete for one in cuts])
    present = torch.where(complete | (holds > 0), holds, chance)
    return PhasePatches(_tensor(images), clot, vessel, present, weight, _weights([one.known for one in cuts]))


def _weights(weights: Sequence[np.ndarray | None]) -> Tensor | None:
    """Weights (batch, 1, z, y, x) of each patch's voxels, 1 where a patch has none; None if no patch has any."""
    shapes = [values.shape for values in weights if values is not None]
    return _tensor([np.ones(shapes[0]) if values is None else values for values in weights]) if shapes else None


def times(first: Weights | None, second: Weights | None) -> Weights | None:
    """Product of weights; None is 1."""
    return second if first is None else first if second is None else first * second


def _tensor(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)[:, None].astype(np.float32, copy=False))
