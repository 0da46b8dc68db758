"""Patches of a training step, a pure function of (cases, configuration, step).

Every step draws from generators of its own, seeded by the configuration's seed and the step. Hence a resumed training
sees the same patches as an uninterrupted one, and variants that share the seed share patches and NCT augmentation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cpmn.config.train import TrainConfig
from cpmn.plan import AIR_HU, normalise
from cpmn.train.cases import Case

BLOOD_HU = (15.0, 75.0)  # ours: unenhanced blood is 45-65 HU (domain facts); wider, as the patches are noisy
OPACIFIED_HU = 150.0  # ours: contrast-filled vessel on CTPA; below 200 HU a pulmonary artery counts as suboptimal


@dataclass
class PhasePatches:
    """Patches of one phase, (batch, 1, z, y, x), and what is known of them.

    patches : normalised intensities; clot : 0/1; vessel : 0/1, blood-like and free of clot (a hard negative);
    present : (batch,) 0/1, whether any clot lies in the patch.
    """

    patches: Tensor
    clot: Tensor
    vessel: Tensor
    present: Tensor

    def to(self, device: torch.device) -> "PhasePatches":
        return PhasePatches(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass
class Batch:
    """One step's patches. `ctpa` holds the rows `paired` of `nct` only, and is None if there are none."""

    nct: PhasePatches
    ctpa: PhasePatches | None
    paired: list[int]


@dataclass(frozen=True)
class Place:
    """Where a patch lies: `corner` (z, y, x) is its first voxel and may lie outside; `flip` mirrors left and right."""

    case: Case
    corner: tuple[int, ...]
    flip: bool
    foreground: bool


def sample_batch(cases: Sequence[Case], config: TrainConfig, step: int) -> Batch:
    """Patches of `step`. `foreground_fraction` of them (rounded) centre near a clot, the others near the lungs."""
    places = sample_places(cases, config, step)
    noise = np.random.default_rng([config.seed, step, 1])
    nct = _phase(places, "nct", config, noise)
    if "ctpa" not in config.pathways:
        return Batch(nct, None, [])
    if config.ctpa_source == "nct":
        again = np.random.default_rng([config.seed, step, 2])
        return Batch(nct, _phase(places, "nct", config, again), list(range(len(places))))
    paired = [row for row, place in enumerate(places) if place.case.ctpa is not None]
    own = [places[row] for row in paired]
    fed = _other_patients(own, cases, config, step) if config.ctpa_source == "shuffled" else own
    if not fed:
        return Batch(nct, None, [])
    return Batch(nct, _phase(fed, "ctpa", config, np.random.default_rng([config.seed, step, 2])), paired)


def sample_places(cases: Sequence[Case], config: TrainConfig, step: int) -> list[Place]:
    """Places of the step's patches; patients are drawn with equal chance, not voxels."""
    random = np.random.default_rng([config.seed, step, 0])
    foreground = round(config.batch_size * config.foreground_fraction)
    return [_place(cases, config, random, row < foreground) for row in range(config.batch_size)]


def _place(cases: Sequence[Case], config: TrainConfig, random: np.random.Generator, foreground: bool) -> Place:
    choices = [case for case in cases if len(case.clot_voxels)] if foreground else cases
    case = choices[int(random.integers(len(choices)))]
    voxels = case.clot_voxels if foreground else case.lung_voxels
    patch = np.array(config.patch_size[::-1])
    jitter = random.integers(-(patch // 4), patch // 4 + 1)
    centre = voxels[random.integers(len(voxels))] + jitter
    corner = np.clip(centre - patch // 2, 0, np.maximum(np.array(case.nct.shape) - patch, 0))
    return Place(case, tuple(int(i) for i in corner), bool(random.integers(2)), foreground)


def _other_patients(places: list[Place], cases: Sequence[Case], config: TrainConfig, step: int) -> list[Place]:
    """For each place one of the same kind in another patient with CTPA, who brings the label too."""
    random = np.random.default_rng([config.seed, step, 3])
    donors = [case for case in cases if case.ctpa is not None]
    result = []
    for place in places:
        others = [case for case in donors if case is not place.case] or donors
        with_clot = place.foreground and any(len(case.clot_voxels) for case in others)
        result.append(_place(others, config, random, with_clot))
    return result


def _phase(
    places: Sequence[Place],
    phase: Literal["nct", "ctpa"],
    config: TrainConfig,
    noise: np.random.Generator,
) -> PhasePatches:
    size = config.patch_size[::-1]
    images, clots, vessels = [], [], []
    for place in places:
        hu = cut(place.case.nct if phase == "nct" else place.case.ctpa, place, size, AIR_HU)
        clot = cut(place.case.embolus, place, size, 0) > 0
        images.append(_normalised(_augmented(hu, config, noise), phase, config))
        clots.append(clot)
        vessels.append(_blood(place, size, config) & ~clot)
    clot, vessel = (torch.from_numpy(np.stack(masks)[:, None].astype(np.float32)) for masks in (clots, vessels))
    return PhasePatches(torch.from_numpy(np.stack(images)[:, None]), clot, vessel, clot.flatten(1).amax(1))


def cut(array: np.ndarray | None, place: Place, size: tuple[int, ...], outside: float) -> np.ndarray:
    """The patch of `size` (z, y, x) at a place, mirrored if it says so; voxels beyond the array are `outside`."""
    if array is None:
        raise ValueError(f"patient {place.case.patient} has no such image")
    part = array[tuple(slice(c, c + n) for c, n in zip(place.corner, size, strict=True))]
    if part.shape != size:
        part = np.pad(part, [(0, n - m) for n, m in zip(size, part.shape, strict=True)], constant_values=outside)
    return part[..., ::-1] if place.flip else part


def _blood(place: Place, size: tuple[int, ...], config: TrainConfig) -> np.ndarray:
    """Vessel-like voxels: of blood's HU on NCT and, where the patient's own CTPA is in use, filled with contrast."""
    nct = cut(place.case.nct, place, size, AIR_HU)
    blood = (nct >= BLOOD_HU[0]) & (nct <= BLOOD_HU[1])
    own_ctpa = "ctpa" in config.pathways and config.ctpa_source == "ctpa"
    if own_ctpa and place.case.ctpa is not None:
        blood &= cut(place.case.ctpa, place, size, AIR_HU) >= OPACIFIED_HU
    return blood


def _augmented(hu: np.ndarray, config: TrainConfig, random: np.random.Generator) -> np.ndarray:
    sd, shift = random.uniform(0, config.noise_hu), random.normal(0, config.shift_hu)
    noise = random.standard_normal(hu.shape, dtype=np.float32)
    return hu + np.float32(sd) * noise + np.float32(shift)


def _normalised(hu: np.ndarray, phase: str, config: TrainConfig) -> np.ndarray:
    if phase == "nct":
        return normalise(hu, config.window_center, config.window_scale, config.clip)
    return normalise(hu, config.ctpa_window_center, config.ctpa_window_scale, config.clip)
