"""One patient: anatomy, attenuation, motion and emboli in the reference space (that of the CTPA)."""

from dataclasses import dataclass, replace

import numpy as np

from cpmn.cohort.phantom import patient_index, phantom_label
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.emboli import Clot, draw_emboli
from cpmn.phantom.findings import Findings, HealthyChest, draw_findings
from cpmn.phantom.materials import FIRST_CLOT, Attenuation, Tissue, draw_attenuation
from cpmn.phantom.motion import Motion, draw_motion
from cpmn.phantom.pulmonary import PLEURA_MM, airways, bronchi, grow_arteries, grow_veins, lobes_of, lung_points
from cpmn.phantom.shapes import Shape
from cpmn.phantom.streams import random_stream
from cpmn.phantom.torso import Habitus, Part, Size, build_torso, draw_habitus
from cpmn.phantom.tree import Tree

PATIENT_SCALE = ((0.90, 1.04), (0.90, 1.04), (0.92, 1.03))  # spread of sizes (x, y, z); our choice


@dataclass(frozen=True)
class Anatomy:
    """A patient. Drawn in order: `parts`, `bronchi`, findings, veins, arteries, `airways`, findings, clots."""

    patient_id: str
    label: int
    scale: np.ndarray
    habitus: Habitus
    lungs: Shape
    parts: tuple[Part, ...]
    bronchi: tuple[Part, ...]
    airways: tuple[Part, ...]
    arteries: Tree
    veins: Tree
    findings: Findings
    attenuation: Attenuation
    motion: Motion
    clots: tuple[Clot, ...]


def build_anatomy(config: PhantomConfig, patient_id: str) -> Anatomy:
    """The patient as in the cohort: a function of the seed, the difficulty and the id alone.

    Raises CpmnError for an id that no phantom has.
    """
    label = phantom_label(config.seed, patient_index(patient_id))
    anatomy = _without_emboli(config, patient_id, label)
    return with_emboli(config, anatomy) if label else anatomy


def without_emboli(anatomy: Anatomy) -> Anatomy:
    """The patient's twin that differs by the clots alone."""
    return replace(anatomy, clots=(), label=0)


def with_emboli(config: PhantomConfig, anatomy: Anatomy) -> Anatomy:
    """The patient with emboli, drawn from their own streams after everything else."""
    random, contrast = (random_stream(config.seed, anatomy.patient_id, name) for name in ("emboli", "contrast"))
    clots = draw_emboli(anatomy.arteries, anatomy.lungs, config.difficulty, random, contrast)
    nct, ctpa = anatomy.attenuation.nct.copy(), anatomy.attenuation.ctpa.copy()
    for clot in clots:
        nct[FIRST_CLOT + clot.clot_id] = nct[Tissue.ARTERY] + clot.over_blood_hu
        ctpa[FIRST_CLOT + clot.clot_id] = clot.ctpa_hu
    return replace(anatomy, clots=tuple(clots), label=1, attenuation=Attenuation(nct, ctpa))


def blood_and_tissue(config: PhantomConfig, patient_id: str) -> Attenuation:
    """HU of the patient's tissues without clots, as `build_anatomy` draws them but within milliseconds."""
    return _first_draws(random_stream(config.seed, patient_id, "anatomy"))[1]


def _first_draws(random: np.random.Generator) -> tuple[np.ndarray, Attenuation]:
    scale = np.array([random.uniform(*limits) for limits in PATIENT_SCALE])
    return scale, draw_attenuation(random)


def _without_emboli(config: PhantomConfig, patient_id: str, label: int) -> Anatomy:
    random = random_stream(config.seed, patient_id, "anatomy")
    scale, attenuation = _first_draws(random)
    habitus = draw_habitus(random_stream(config.seed, patient_id, "habitus")) if config.nuisance else Habitus()
    size, torso = Size(scale), build_torso(scale, habitus)
    points = lung_points(torso.lungs, size, random)
    deep = points[torso.lungs.distance(points.astype(np.float32)) < -PLEURA_MM]
    lobes = lobes_of(deep, size)
    arteries, veins = grow_arteries(lobes, size, random), grow_veins(lobes, size, random)
    motion = draw_motion(random_stream(config.seed, patient_id, "motion"), scale, points)
    chest = HealthyChest(size, torso, bronchi(arteries), arteries, deep)
    return Anatomy(
        patient_id=patient_id,
        label=label,
        scale=scale,
        habitus=habitus,
        lungs=torso.lungs,
        parts=torso.parts,
        bronchi=chest.bronchi,
        airways=airways(size),
        arteries=arteries,
        veins=veins,
        findings=draw_findings(config.seed, patient_id, chest) if config.nuisance else Findings(),
        attenuation=attenuation,
        motion=motion,
        clots=(),
    )
