"""Whether Inter-Feature Alignment tells a patient's own CTPA from another's: asked before any AUC is read.

Two pathways learn from the alignment alone. Then each place of a validation patient's NCT patch is looked for among the
places of a CTPA patch: of the same place in the own CTPA, and of a place of the same kind in another patient's.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.config.root import Config
from cpmn.config.train import TrainConfig
from cpmn.config.variants import resolve_variant
from cpmn.job.status import exclusions
from cpmn.model.losses import alignment_loss, places_apart, unit_places
from cpmn.model.network import PathwayOutput
from cpmn.model.plan import pooling_strides
from cpmn.train.objective import ALIGNMENT_LEVEL, Pathways
from cpmn.train.resume import ResumeFolder
from cpmn.train.sampling import Batch, sample_batch
from cpmn.train.subjects import Subject, crop_files, load_subjects
from cpmn.train.training import start_training
from study.cohort import TRAINING, part_of
from study.few import RETRIEVAL
from study.tables import write

BATCHES = 40  # of validation patches
NEAR = 1  # places so many apart along each axis count as found
SOURCES = ("ctpa", "shuffled")


def measure_retrieval(results: Path, config: Config, steps: int, folder: Path) -> pd.DataFrame:
    """Write a table into `folder`: the share of places found again, with mirrored CTPA patches and without.

    results : of a folder in which `study/Snakefile` preprocessed training and validation pairs.

    Columns are `mirrored` (0/1), `steps`, `patches`, and the shares `own`, `other` and `chance`.
    """
    settings = resolve_variant(config.train, "cpmn", {}).changed(schedule={"steps": steps})
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        training, validation = (_subjects(results, part, settings, Path(cache) / part) for part in TRAINING)
        for mirrored in (True, False):
            pathways = _aligned(training, settings, mirrored, Path(cache) / f"mirrored-{mirrored}")
            own, other = (_found(pathways, validation, settings, source, mirrored) for source in SOURCES)
            shares = {"own": own[0].mean(), "other": other[0].mean(), "chance": own[1]}
            row = {"mirrored": int(mirrored), "steps": steps, "patches": len(own[0])}
            rows.append(row | {name: round(float(share), 3) for name, share in shares.items()})
    write(pd.DataFrame(rows), folder / RETRIEVAL)
    return pd.DataFrame(rows)


def _subjects(results: Path, part: str, settings: TrainConfig, cache: Path) -> list[Subject]:
    """A part's pairs on the working grid, without what an outline tells."""
    patients = [p for p in load_cohort(results.parent / "cohort.csv") if part_of(p.patient_id) == part]
    excluded = exclusions([p.patient_id for p in patients], results)
    pairs: list[Patient] = [p for p in patients if p.nct and p.ctpa and p.patient_id not in excluded]
    found = load_subjects(
        [p.patient_id for p in pairs],
        files={p.patient_id: crop_files(results / "crop" / p.patient_id, ("nct", "ctpa")) for p in pairs},
        labels={p.patient_id: p.label or 0 for p in pairs},
        spacing=_spacing(settings),
        cache=cache,
        config=settings,
    )
    return [subject.without_outline() for subject in found]


def _spacing(settings: TrainConfig) -> tuple[float, float, float]:
    assert settings.network.spacing is not None  # the protocol names it
    return settings.network.spacing


def _batch(subjects: list[Subject], settings: TrainConfig, step: int, mirrored: bool) -> Batch:
    batch = sample_batch(subjects, settings, step)
    return batch if mirrored else replace(batch, mirrored=())


def _pairs_of(pathways: Pathways, batch: Batch) -> tuple[PathwayOutput, PathwayOutput]:
    outputs = pathways(batch)
    return outputs["nct"], outputs["ctpa"]


def _aligned(subjects: list[Subject], settings: TrainConfig, mirrored: bool, folder: Path) -> Pathways:
    """Pathways that learnt from Inter-Feature Alignment alone."""
    strides = pooling_strides(_spacing(settings), settings.network.patch_size, len(settings.network.channels))
    state = start_training(settings, strides, torch.device("cpu"), ResumeFolder(folder, "k" * 64))
    for step in tqdm(range(settings.schedule.steps), desc="align", disable=None):
        batch = _batch(subjects, settings, step, mirrored)
        nct, ctpa = _pairs_of(state.pathways, batch)
        loss = alignment_loss(
            [level[batch.paired] for level in nct.features[ALIGNMENT_LEVEL:]],
            ctpa.features[ALIGNMENT_LEVEL:],
            settings.loss.alignment_tolerance,
            settings.loss.constant,
            batch.reached,
        )
        state.optimiser.zero_grad()
        loss.backward()
        state.optimiser.step()
        state.schedule.step()
    return state.pathways


@torch.no_grad()
def _found(
    pathways: Pathways, subjects: list[Subject], settings: TrainConfig, source: str, mirrored: bool
) -> tuple[np.ndarray, float]:
    """Share of the places of each NCT patch (n,) whose likest place in the CTPA patch is theirs, and that by chance."""
    pathways.eval()
    settings = settings.changed(sampling={"ctpa_source": source})
    shares, chance = [], 0.0
    for step in range(BATCHES):
        batch = _batch(subjects, settings, step, mirrored)
        nct, ctpa = _pairs_of(pathways, batch)
        first = unit_places(nct.features[ALIGNMENT_LEVEL][batch.paired])
        second = unit_places(ctpa.features[ALIGNMENT_LEVEL])
        near = places_apart(first) <= NEAR
        likest = (first.flatten(2).transpose(1, 2) @ second.flatten(2)).argmax(-1)
        shares += [float(near[torch.arange(len(near)), one].float().mean()) for one in likest]
        chance = float(near.float().mean())
    return np.array(shares), chance
