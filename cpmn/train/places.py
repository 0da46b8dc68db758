"""Where the patches of a training step lie, a pure function of (subjects, configuration, step).

Every step draws from generators of its own, seeded by the configuration's seed and the step. Hence a resumed training
sees the same patches as an uninterrupted one, and variants that share the seed share places. Places are chosen by the
labels and the NCT alone, so that a variant without CTPA gets the same ones. Hard negatives are the exception: they
follow the weights (`cpmn.train.hard`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from cpmn.config.train import Spacing, TrainConfig
from cpmn.config.train.sampling import SamplingConfig
from cpmn.train.subjects import Subject

Kind = Literal["clot", "vein", "elsewhere", "hard", "lung"]
AXES = ("z", "y", "x")
TRIES = 50  # ours: places per patient for `with_chances`
MOST_SIMULATED = 0.75  # ours: share of the patches on clots, as at four outlines of 16 in the study
TYPICAL_CHANCE = 0.1  # ours: about what phantom patients and patches of 48 mm give


@dataclass(frozen=True)
class Place:
    """Where a patch lies.

    corner : first voxel (z, y, x); it may lie outside the volume.
    flips : whether the patch is mirrored along z, y, x.
    matrix : (3, 3) from a patch's voxel steps to the volume's, about the patch's centre; None is the identity.
    embolus_at : voxel (z, y, x) of the volume where a simulated embolus is put in; None puts in none.
    """

    subject: Subject
    corner: tuple[int, ...]
    kind: Kind
    flips: tuple[bool, ...] = (False, False, False)
    matrix: np.ndarray | None = None
    embolus_at: tuple[int, ...] | None = None


def generator(config: TrainConfig, step: int, part: int, stream: int) -> np.random.Generator:
    """The random numbers of one purpose (`stream`) in batch `part` of a step."""
    return np.random.default_rng([config.seed, step, stream, *([part] if part else [])])


def sample_places(subjects: Sequence[Subject], config: TrainConfig, step: int, part: int = 0) -> list[Place]:
    """Places of a batch's patches: clots first, then veins, what is far from the lungs, hard negatives, and near them.

    Patients are drawn with equal chance, not voxels. What the options add is drawn from generators of their own: they
    move patches with a simulated embolus alone.
    """
    random, extra, made = (generator(config, step, part, stream) for stream in (0, 4, 13))
    kinds = _kinds(config.sampling, generator(config, step, part, 8).random())
    places = [_vary(_place(subjects, config, random, kind), config, extra) for kind in kinds]
    lacking = _lacking(subjects, config.sampling)
    return [_with_embolus(place, subjects, lacking, config, made) for place in places]


def with_chances(subjects: Sequence[Subject], config: TrainConfig) -> list[Subject]:
    """The subjects with `clot_chance`, by how often a patch near the lungs of PE patients holds clot.

    Where nobody outlined a patient, that is as often as in those whom a person did; without any as often as networks
    outlined in others, and without these `TYPICAL_CHANCE`. Where a network outlined the patient, and nothing in a
    patch, it is the share of that chance p which the patches that networks outlined, d, leave: (p - d) / (1 - d).
    """
    marked = [one for one in subjects if one.label and getattr(one, config.network.reader) is not None]
    known = _share_with_clot([one for one in marked if one.complete], config, 12)
    drawn = _share_with_clot([one for one in marked if not one.complete], config, 16)
    chance = next((share for share in (known, drawn) if share is not None), TYPICAL_CHANCE)
    left = chance if known is None or drawn is None else max(0.0, known - drawn) / max(1 - drawn, 1e-6)
    return [one if one.complete else replace(one, clot_chance=left if one.outlined else chance) for one in subjects]


def _share_with_clot(subjects: Sequence[Subject], config: TrainConfig, stream: int) -> float | None:
    """Share of patches near the lungs that hold clot, over `TRIES` of each subject with clots; None without any."""
    random = np.random.default_rng([config.seed, stream])
    size = config.network.patch_size[::-1]
    found = []
    for subject in subjects:
        for _ in range(TRIES if len(subject.clot_voxels) else 0):
            place = _place([subject], config, random, "lung")
            block = tuple(slice(corner, corner + n) for corner, n in zip(place.corner, size, strict=True))
            found.append(bool(subject.embolus[block].any()))
    return float(np.mean(found)) if found else None


def sample_alone(subjects: Sequence[Subject], config: TrainConfig, step: int, part: int = 0) -> list[Place]:
    """Places in patients with a CTPA alone, `ctpa_alone_patches` of them; none without such patients.

    The share on clots is that of the other patches, on average over the steps.
    """
    alone = [subject for subject in subjects if subject.nct is None]
    if not alone:
        return []
    random, extra, made = (generator(config, step, part, stream) for stream in (10, 11, 14))
    lacking = _lacking(_with_ctpa(subjects), config.sampling)
    kinds: list[Kind] = [
        "clot" if random.random() < config.sampling.foreground_fraction else "lung"
        for _ in range(config.sampling.ctpa_alone_patches)
    ]
    kinds = [_available(kind, alone, lacking) for kind in kinds]
    places = [_vary(_place(alone, config, random, kind), config, extra) for kind in kinds]
    return [_with_embolus(place, alone, lacking, config, made) for place in places]


def sample_donors(
    places: Sequence[Place], subjects: Sequence[Subject], config: TrainConfig, step: int, part: int = 0
) -> list[Place]:
    """For each place one of the same kind in another patient with CTPA, who brings the label too."""
    random, extra, made = (generator(config, step, part, stream) for stream in (3, 5, 15))
    donors = _with_ctpa(subjects)
    lacking = _lacking(donors, config.sampling)
    result = []
    for place in places:
        others = [subject for subject in donors if subject is not place.subject] or donors
        kind = _available(place.kind, others, lacking)
        donor = _vary(_place(others, config, random, kind), config, extra)
        result.append(_with_embolus(donor, others, lacking, config, made))
    return result


def _with_ctpa(subjects: Sequence[Subject]) -> list[Subject]:
    return [subject for subject in subjects if subject.ctpa is not None]


def _kinds(config: SamplingConfig, offset: float) -> list[Kind]:
    """Kinds of a batch's patches by systematic sampling with a random `offset` (0 to below 1).

    A share that is a whole number of patches gets that number in every batch, any other on average over the steps.
    """
    shares: dict[Kind, float] = {
        "clot": config.foreground_fraction,
        "vein": config.vein_fraction,
        "elsewhere": config.elsewhere_fraction,
        "hard": config.hard_fraction,
        "lung": 1.0,  # what is left
    }
    ends = np.round(np.cumsum(list(shares.values())) * config.batch_size, 6)  # 0.1 + 0.2 is more than 0.3
    chosen = np.searchsorted(ends, np.arange(config.batch_size) + offset, side="right")
    return [list(shares)[index] for index in chosen]


def _available(kind: Kind, subjects: Sequence[Subject], lacking: float) -> Kind:
    """The kind if any of the `subjects` has such voxels, or simulated clots stand in for them; else near the lungs."""
    there = any(len(_voxels(subject, kind)) for subject in subjects)
    return kind if there or (kind == "clot" and lacking) else "lung"


def _voxels(subject: Subject, kind: Kind) -> np.ndarray:
    return getattr(subject, f"{kind}_voxels")


def _place(subjects: Sequence[Subject], config: TrainConfig, random: np.random.Generator, kind: Kind) -> Place:
    choices = [subject for subject in subjects if len(_voxels(subject, kind))] or list(subjects)
    subject = choices[int(random.integers(len(choices)))]
    voxels = _voxels(subject, kind) if len(_voxels(subject, kind)) else subject.lung_voxels
    corner, _ = _about(voxels, subject, config, random)
    left_right = bool(random.integers(2)) and "x" in config.augmentation.flip_axes
    return Place(subject, corner, kind, (False, False, left_right))


def _about(
    voxels: np.ndarray, subject: Subject, config: TrainConfig, random: np.random.Generator
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Corner of a patch about one of the `voxels`, which lies within a quarter of a patch of its centre; that voxel."""
    patch = np.array(config.network.patch_size[::-1])
    jitter = random.integers(-(patch // 4), patch // 4 + 1)
    voxel = voxels[random.integers(len(voxels))]
    corner = np.clip(voxel + jitter - patch // 2, 0, np.maximum(np.array(subject.embolus.shape) - patch, 0))
    return tuple(corner.tolist()), tuple(voxel.tolist())


def _vary(place: Place, config: TrainConfig, random: np.random.Generator) -> Place:
    """The place with the optional flips, rotation and scaling; as it was where all are off."""
    varied = config.augmentation
    coins, angles, size = random.random(2), random.uniform(-1, 1, 3), random.uniform(-1, 1)
    flips = tuple(axis in varied.flip_axes and coin < 0.5 for axis, coin in zip("zy", coins, strict=True))
    matrix = None
    if varied.rotation_degrees or varied.scaling:
        factor = (1 + varied.scaling) ** size
        matrix = rotation_matrix(angles * varied.rotation_degrees, factor, place.subject.spacing)
    return replace(place, flips=(*flips, place.flips[2]), matrix=matrix)


def _with_embolus(
    place: Place, subjects: Sequence[Subject], lacking: float, config: TrainConfig, random: np.random.Generator
) -> Place:
    """The place, or another in a patient without PE where a simulated embolus is put in.

    Patches near the lungs of such a patient get one by `simulated_fraction`. Of patches on clots the share `lacking`
    moves to one of the `subjects` without PE. They lie about a voxel of vessel as others about a clot's: wide vessels
    have most of them. In a patch from anywhere near the lungs most vessel is thinner than those that hold clots.
    """
    share = {"clot": lacking, "lung": config.sampling.simulated_fraction}.get(place.kind, 0.0)
    among = [place.subject] if place.kind == "lung" else subjects
    clean = [one for one in among if not one.label and len(one.vessel_voxels)]
    if random.random() >= share or not clean:
        return place
    subject = clean[int(random.integers(len(clean)))]
    corner, voxel = _about(subject.vessel_voxels, subject, config, random)
    return replace(place, subject=subject, corner=corner, embolus_at=voxel)


def _lacking(subjects: Sequence[Subject], config: SamplingConfig) -> float:
    """Share of `enough_outlined` patients with clots that the `subjects` lack; where none has any it is all.

    Outlines of networks do not count, as patches on them hardly show what is no clot. Where there are any, at most
    `MOST_SIMULATED` are asked for, so that they are seen. 0 without simulated emboli, or where nobody need be outlined.
    """
    complete = [one.complete for one in subjects if len(one.clot_voxels)]
    if not config.simulated_fraction or (complete and not config.enough_outlined):
        return 0.0
    most = 1.0 if all(complete) else MOST_SIMULATED
    return min(most, max(0.0, 1 - sum(complete) / max(1, config.enough_outlined)))


def rotation_matrix(degrees: np.ndarray, factor: float, spacing: Spacing) -> np.ndarray:
    """Voxel steps (z, y, x) to voxel steps: turned by `degrees` about z, y, x in mm, structures enlarged by `factor`.

    `spacing` is (x, y, z) in mm: on anisotropic voxels a rotation of indices would shear the anatomy.
    """
    mm = np.diag(spacing[::-1])
    turn = Rotation.from_euler("zyx", degrees, degrees=True).as_matrix()  # acts on (x, y, z)
    return np.linalg.inv(mm) @ turn[::-1, ::-1] @ mm / factor
