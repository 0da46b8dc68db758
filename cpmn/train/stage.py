"""Stage `train` for one variant and fold: crops in, `model.safetensors`, `plan.json` and `history.csv` out."""

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch
from safetensors.torch import save_file
from torch import Tensor

import cpmn
from cpmn.config.train import Spacing, TrainConfig
from cpmn.errors import CpmnError
from cpmn.files import write_table, written_atomically
from cpmn.model.devices import choose_device, device_name
from cpmn.model.network import all_finite
from cpmn.model.plan import WEIGHTS_FILE, Plan, pooling_strides, write_plan
from cpmn.train.engine import COLUMNS, final_weights, train
from cpmn.train.fingerprint import fingerprint
from cpmn.train.planning import check_memory, parameters, planned, training_bytes
from cpmn.train.processes import joined_world, own_device
from cpmn.train.resume import ResumeFolder, resume_key
from cpmn.train.subjects import Subject, crop_files, load_subjects
from cpmn.train.training import Row

logger = logging.getLogger(__name__)

HISTORY_FILE = "history.csv"
PACKAGES = ("torch", "numpy", "SimpleITK", "safetensors")
NO_RESULT = {"variants", "folds", "test_fraction", "validation_fraction", "device", "processes", "save_every"}
"""Settings that change who takes part, which is known by then, or how a training runs: one goes on with others."""
Parts = dict[str, list[str]]


def train_fold(
    *,
    variant: str,
    fold: int,
    splits: dict[str, Any],
    crops: Path,
    excluded: dict[str, str],
    folder: Path,
    config: TrainConfig,
    threads: int,
    labels: dict[str, int],
    paired: set[str],
    masked: Collection[str] = (),
    annotated: Collection[str] = (),
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> None:
    """Train one variant on one fold and write `model.safetensors` (the NCT pathway), `plan.json`, `history.csv`.

    Parameters
    ----------
    variant, fold : names for the plan; `config` is the variant's resolved configuration.
    splits : contents of `splits.json`.
    crops : folder with `{patient}/{nct,ctpa,embolus,lung,vessels}.nii.gz`; nothing else is read.
    excluded : patients that take no part, with the reason (failed stages, failed registration).
    labels : 1 = PE, 0 = not, for every patient.
    paired : patients with a usable CTPA; the others train the NCT pathway alone.
    masked : patients with a vessel mask, of which `vein_fraction` takes the veins.
    annotated : patients whose label was drawn on the NCT, not carried from the CTPA (see `confidence_floor`).
    on_epoch : called with every new row of the history.
    on_step : called after every step (see `cpmn.train.engine.train`).

    An interrupted training goes on from `folder/.resume/`. Same input, seed, threads and machine: same bytes (CPU).
    Raises CpmnError if there is nothing to train on.
    """
    torch.set_num_threads(threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    device = own_device(choose_device(config.device))
    parts = {part: _taking_part(splits["folds"][fold][part], excluded, part) for part in ("train", "validation")}
    patients = parts["train"] + parts["validation"]
    paired = paired.intersection(patients) if _reads_ctpa(config) else set()
    masked = _usable_masks(masked, parts["train"], crops) if config.vein_fraction else set()
    files = _existing_files(patients, crops, paired, masked)
    _check_classes(parts["train"], labels)
    result = config.model_dump(exclude=NO_RESULT)
    settings = {"variant": variant, "config": result, "parts": parts, "paired": sorted(paired)}
    if config.confidence_floor < 1:
        settings["annotated"] = sorted(annotated)
    key = resume_key(settings | {"labels": [labels[p] for p in patients]}, files)
    images = fingerprint(parts["train"], crops, labels, paired)
    spacing = config.spacing or tuple(images["median_spacing"])
    config = planned(config, images, spacing)
    check_memory(config, spacing, device)
    plan = _plan(variant, fold, config, images, spacing, device)  # before the steps, should it be refused

    with joined_world(config.accumulation) as world:
        with world.first_process_first():
            resume = ResumeFolder(folder / ".resume", key)
            read = partial(
                load_subjects, crops=crops, labels=labels, spacing=spacing, cache=resume.volumes, config=config
            )
            training, validation = (
                read(parts["train"], paired=paired, masked=masked, annotated=annotated),
                read(parts["validation"], paired=set()),
            )
        training = _usable(training, config)
        hooks = {"on_epoch": on_epoch if world.writes else None, "on_step": on_step}
        state = train(training, validation, config, spacing, device=device, resume=resume, world=world, **hooks)
        if world.writes:
            write_plan(plan, folder)
            write_history(state.rows, folder / HISTORY_FILE)
            write_weights(final_weights(state), folder / WEIGHTS_FILE)
            resume.remove()


def write_history(rows: Sequence[Row], path: Path) -> None:
    """Write `history.csv`; what was not computed is empty."""
    write_table(path, COLUMNS, rows)


def write_weights(state: dict[str, Tensor], path: Path) -> None:
    """Write a pathway's weights as safetensors: float32, on the CPU, in plain memory order.

    Raises CpmnError if one of them is not a finite number.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    if not all_finite(weights):
        raise CpmnError("the training diverged in its last step: weights are not numbers. Lower train.learning_rate.")
    with written_atomically(path) as temporary:
        save_file(weights, temporary)


def _reads_ctpa(config: TrainConfig) -> bool:
    return ("ctpa" in config.pathways and config.ctpa_source != "nct") or config.pretraining_fraction > 0


def _taking_part(patients: Sequence[str], excluded: dict[str, str], part: str) -> list[str]:
    for patient in patients:
        if patient in excluded:
            logger.warning("patient %s takes no part in %s: %s", patient, part, excluded[patient])
    return [patient for patient in patients if patient not in excluded]


def _usable_masks(masked: Collection[str], patients: Sequence[str], crops: Path) -> set[str]:
    """Those of `patients` whose vessel mask was not left out by the crop stage, which leaves an empty file."""
    paths = {patient: crops / patient / "vessels.nii.gz" for patient in patients if patient in masked}
    return {patient for patient, path in paths.items() if not path.is_file() or path.stat().st_size}


def _existing_files(patients: Sequence[str], crops: Path, paired: set[str], masked: set[str]) -> dict[str, list[Path]]:
    found = {patient: crop_files(crops / patient, patient in paired, patient in masked) for patient in patients}
    files = {patient: list(paths.values()) for patient, paths in found.items()}
    missing = [str(path) for paths in files.values() for path in paths if not path.is_file()]
    if missing:
        raise CpmnError(f"training needs {', '.join(missing)}. Run the crop stage first, or exclude the patient.")
    return files


def _check_classes(training: Sequence[str], labels: dict[str, int]) -> None:
    positives = sum(labels[patient] for patient in training)
    if not positives:
        raise CpmnError(
            f"no PE patient is left to train on ({len(training)} patients without PE). "
            "See the reasons of exclusion above; mend these patients or add others."
        )


def _usable(subjects: list[Subject], config: TrainConfig) -> list[Subject]:
    """Subjects to train on. Raises CpmnError if they cannot serve the settings."""
    subjects = _with_clots(subjects)
    if config.pretraining_fraction and not any(
        subject.ctpa is not None and len(subject.clot_voxels) for subject in subjects
    ):
        raise CpmnError("pretraining on CTPA needs a PE patient with a CTPA. Set train.pretraining_fraction to 0.")
    if config.vein_fraction and not any(len(subject.vein_voxels) for subject in subjects):
        raise CpmnError(
            "train.vein_fraction asks for patches on veins, but no training patient has a vessel mask with veins. "
            "Name masks in the column vessels of cohort.csv, or set train.vein_fraction to 0."
        )
    if config.ctpa_source == "shuffled" and sum(subject.ctpa is not None for subject in subjects) < 2:
        raise CpmnError("train.ctpa_source shuffled needs at least two patients with a CTPA, to feed one the other's.")
    return subjects


def _with_clots(subjects: list[Subject]) -> list[Subject]:
    """Subjects whose label can be trusted: a PE patient without clot in the crop would teach that clots are not.

    Raises CpmnError if no PE patient is left.
    """
    kept = []
    for subject in subjects:
        if subject.label and not len(subject.clot_voxels):
            logger.warning("patient %s has PE but no clot inside the crop: it is left out of training", subject.patient)
        else:
            kept.append(subject)
    if not any(subject.label for subject in kept):
        raise CpmnError("no PE patient has a clot inside the crop. Look at the crops and at the propagated labels.")
    return kept


def _plan(
    variant: str, fold: int, config: TrainConfig, images: dict[str, Any], spacing: Spacing, device: torch.device
) -> Plan:
    return Plan(
        format=1,
        variant=variant,
        fold=fold,
        seed=config.seed,
        spacing=spacing,
        patch_size=config.patch_size,
        channels=config.channels,
        strides=pooling_strides(spacing, config.patch_size, len(config.channels)),
        parameters=parameters(config, spacing),
        training_mb=round(training_bytes(config, spacing) / 1e6),
        window_center=config.window_center,
        blood_window=config.blood_window,
        absolute_hu=config.absolute_hu,
        window_scale=config.window_scale,
        clip=config.clip,
        fingerprint=images,
        config=config.model_dump(mode="json"),
        device=device_name(device),
        versions={"cpmn": cpmn.__version__} | {name: metadata.version(name) for name in PACKAGES},
    )
