"""Patches of a training step, a pure function of (subjects, configuration, step)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cpmn.anatomy.vessels import BLOOD_HU
from cpmn.config.train import Phase, TrainConfig
from cpmn.config.train.network import NetworkConfig
from cpmn.train.patches import augmented, cut, voxels_in_patch
from cpmn.train.places import Place, generator, sample_donors, sample_places
from cpmn.train.simulate import draw_contrast, insert_embolus
from cpmn.train.subjects import Subject
from cpmn.train.visibility import label_weight, patch_visibility
from cpmn.volume.grid import normalise
from cpmn.volume.images import AIR_HU

SHOWN_SHARE = 0.5  # ours: a patch of which the CTPA shows less is one without CTPA
OPACIFIED_HU = 150.0  # ours: contrast-filled vessel on CTPA; below 200 HU a pulmonary artery counts as suboptimal


@dataclass
class PhasePatches:
    """Patches of one phase, (batch, 1, z, y, x), and what is known of them.

    patches : normalised intensities; clot : 0/1; vessel : 0/1, blood-like and free of clot (hard background);
    present : (batch,) 0/1, whether any clot lies in the patch; weight : of each voxel's label, None if all are 1.
    """

    patches: Tensor
    clot: Tensor
    vessel: Tensor
    present: Tensor
    weight: Tensor | None = None

    def present_weight(self) -> Tensor | None:
        """Weight of each patch's `present` (batch,): that of its heaviest clot voxel; None if all are 1."""
        if self.weight is None:
            return None
        heaviest = (self.weight * self.clot).flatten(1).amax(1)
        return torch.where(self.present > 0, heaviest, torch.ones_like(heaviest))

    def to(self, device: torch.device) -> "PhasePatches":
        required = (self.patches, self.clot, self.vessel, self.present)
        weight = None if self.weight is None else self.weight.to(device)
        return PhasePatches(*(values.to(device) for values in required), weight=weight)


@dataclass
class Batch:
    """One step's patches. `ctpa` holds the rows `paired` of `nct` only, and is None if there are none.

    reached : (paired, 1, z, y, x) 0/1, where the CTPA shows something; None if that is everywhere.
    """

    nct: PhasePatches
    ctpa: PhasePatches | None
    paired: list[int]
    reached: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        ctpa = None if self.ctpa is None else self.ctpa.to(device)
        reached = None if self.reached is None else self.reached.to(device)
        return Batch(self.nct.to(device), ctpa, self.paired, reached)


@dataclass
class Cut:
    """One place's patches in HU, (z, y, x): `clot` and `vessel` bool, `weight` of the labels or None if all are 1.

    `window_center` is that of the patient's NCT, in HU; `reached` (bool) is where the CTPA shows something, None if it
    does everywhere.
    """

    nct: np.ndarray
    ctpa: np.ndarray | None
    clot: np.ndarray
    vessel: np.ndarray
    weight: np.ndarray | None
    window_center: float
    reached: np.ndarray | None = None


def sample_batch(subjects: Sequence[Subject], config: TrainConfig, step: int, part: int = 0) -> Batch:
    """Batch number `part` of `step`. On average `foreground_fraction` of its patches centre near a clot."""
    if step < config.schedule.pretraining_steps:
        return _pretraining_batch(subjects, config, step, part)
    places = sample_places(subjects, config, step, part)
    cuts = _cuts(places, config, step, generator(config, step, part, 6))
    nct = _phase(cuts, "nct", config, generator(config, step, part, 1))
    if "ctpa" not in config.network.pathways:
        return Batch(nct, None, [])
    noise = generator(config, step, part, 2)
    if config.sampling.ctpa_source == "nct":
        return Batch(nct, _phase(cuts, "nct", config, noise), list(range(len(places))))
    paired = [row for row, place in enumerate(places) if place.subject.ctpa is not None and _is_shown(cuts[row])]
    if not paired:
        return Batch(nct, None, [])
    fed = [cuts[row] for row in paired]
    if config.sampling.ctpa_source == "shuffled":
        donors = sample_donors([places[row] for row in paired], subjects, config, step, part)
        fed = _cuts(donors, config, step, generator(config, step, part, 7))
    ctpa = _phase(fed, "ctpa", config, noise)
    return Batch(nct, ctpa, paired, reached=ctpa.weight)


def _is_shown(one: Cut) -> bool:
    """Whether the CTPA shows enough of a patch to be compared with."""
    return one.reached is None or float(one.reached.mean()) >= SHOWN_SHARE


def _pretraining_batch(subjects: Sequence[Subject], config: TrainConfig, step: int, part: int) -> Batch:
    """CTPA patches, in their own window, for the NCT pathway to start from."""
    places = sample_places([subject for subject in subjects if subject.ctpa is not None], config, step, part)
    cuts = _cuts(places, config, step, generator(config, step, part, 6))
    return Batch(_phase(cuts, "ctpa", config, generator(config, step, part, 1)), None, [])


def _cuts(places: Sequence[Place], config: TrainConfig, step: int, random: np.random.Generator) -> list[Cut]:
    return [_cut(place, config, step, random) for place in places]


def _cut(place: Place, config: TrainConfig, step: int, random: np.random.Generator) -> Cut:
    size, subject = config.network.patch_size[::-1], place.subject
    nct = cut(subject.nct, place, size, AIR_HU)
    ctpa = cut(subject.ctpa, place, size, AIR_HU) if subject.ctpa is not None else None
    clot = cut(subject.embolus, place, size, 0) > 0
    vessel = _vessel(nct, ctpa, config) if config.loss.discrepancy_weight > 0 else np.zeros_like(clot)
    made = np.zeros_like(clot)
    vessels = voxels_in_patch(subject.vessel_voxels, place, size) if place.simulated else ()
    if len(vessels):
        at, contrast = vessels[random.integers(len(vessels))], draw_contrast(step, config, random)
        nct, ctpa, made = insert_embolus(nct, ctpa, at=at, spacing=subject.spacing, contrast=contrast, random=random)
    weight = _weight(place, clot, made, nct, config)
    reached = None if subject.reached is None else cut(subject.reached, place, size, 1, order=0) > 0
    return Cut(nct, ctpa, clot | made, vessel & ~(clot | made), weight, subject.window_center, reached)


def _weight(
    place: Place, clot: np.ndarray, made: np.ndarray, nct: np.ndarray, config: TrainConfig
) -> np.ndarray | None:
    """Label weights of a patch by how well its clots are seen, those `made` in `nct` among them; None for all alike."""
    subject = place.subject
    if subject.visibility is None:
        return None
    seen = cut(subject.visibility, place, clot.shape, 0, order=0)
    if made.any():
        seen = np.where(made, patch_visibility(nct, made, subject.spacing, config.loss), seen)
    return label_weight(seen, clot | made, config.loss.visibility_floor)


def _vessel(nct: np.ndarray, ctpa: np.ndarray | None, config: TrainConfig) -> np.ndarray:
    """Vessel-like voxels: of blood's HU on NCT and, where the patient's own CTPA is in use, filled with contrast."""
    blood = (nct >= BLOOD_HU[0]) & (nct <= BLOOD_HU[1])
    own_ctpa = "ctpa" in config.network.pathways and config.sampling.ctpa_source == "ctpa"
    return blood & (ctpa >= OPACIFIED_HU) if own_ctpa and ctpa is not None else blood


def _phase(cuts: Sequence[Cut], phase: Phase, config: TrainConfig, noise: np.random.Generator) -> PhasePatches:
    seen = [_window(one, phase, config.network) for one in cuts]
    images = [
        normalise(augmented(hu, config.augmentation, noise), center, scale, config.network.clip)
        for hu, center, scale in seen
        if hu is not None
    ]
    clot, vessel = (_tensor([getattr(one, name) for one in cuts]) for name in ("clot", "vessel"))
    # The CTPA shows each clot, as far as it reaches.
    weight = _weights([one.weight if phase == "nct" else one.reached for one in cuts])
    if phase == "ctpa" and weight is not None:
        clot, vessel = clot * weight, vessel * weight
    return PhasePatches(_tensor(images), clot, vessel, clot.flatten(1).amax(1), weight)


def _weights(weights: Sequence[np.ndarray | None]) -> Tensor | None:
    """Weights (batch, 1, z, y, x) of each patch's voxels, 1 where a patch has none; None if no patch has any."""
    shapes = [values.shape for values in weights if values is not None]
    return _tensor([np.ones(shapes[0]) if values is None else values for values in weights]) if shapes else None


def _window(one: Cut, phase: Phase, config: NetworkConfig) -> tuple[np.ndarray | None, float, float]:
    """HU of a phase's patch, the centre of its window and the HU per unit of intensity."""
    if phase == "nct":
        return one.nct, one.window_center, config.window_scale
    return one.ctpa, config.ctpa_window_center, config.ctpa_window_scale


def _tensor(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)[:, None].astype(np.float32, copy=False))
