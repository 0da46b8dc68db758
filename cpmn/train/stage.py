"""Stage `train` for one variant and fold: crops in, `model.safetensors`, `plan.json` and `history.csv` out."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from cpmn.train.engine import COLUMNS, train
from cpmn.train.fingerprint import fingerprint
from cpmn.train.fold import FoldJob
from cpmn.train.hard import normals
from cpmn.train.places import with_chances
from cpmn.train.planning import check_memory, parameters, planned, training_bytes
from cpmn.train.processes import World, joined_world, own_device
from cpmn.train.resume import ResumeFolder, resume_key
from cpmn.train.subjects import Subject, load_subjects
from cpmn.train.training import Row, Training

logger = logging.getLogger(__name__)

HISTORY_FILE = "history.csv"
CTPA_WEIGHTS_FILE = "ctpa.safetensors"
PACKAGES = ("torch", "numpy", "SimpleITK", "safetensors")
NO_RESULT = {
    **dict.fromkeys(("variants", "folds", "test_fraction", "validation_fraction"), True),
    "machine": {"device", "processes", "save_every"},
}
"""Settings that change who takes part, which is known by then, or how a training runs: one goes on with others."""

Hook = Callable[[Row], None] | None


def train_fold(job: FoldJob, *, on_epoch: Hook = None, on_step: Callable[[int], None] | None = None) -> None:
    """Train one variant on one fold and write `model.safetensors` (what reads scans: the NCT pathway), `plan.json` and
    `history.csv`; a CTPA pathway beside it is kept as `ctpa.safetensors`.

    on_epoch : called with every new row of the history.
    on_step : called after every step (see `cpmn.train.engine.train`).

    An interrupted training goes on from `.resume/` in the job's folder. Same input, seed, threads and machine: same
    bytes (CPU). Raises CpmnError if there is nothing to train on.
    """
    torch.set_num_threads(job.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(job.threads)
    device = own_device(choose_device(job.config.machine.device))
    job = _of_those_who_take_part(job)
    _check_classes(job)
    key = _key(job)
    with joined_world(job.config.machine.accumulation) as world:
        with world.first_process_first():
            resume = ResumeFolder(job.folder / ".resume", key)
            images = _fingerprint(job, resume)
        job, plan = _planned(job, device, images)  # of all, before any takes memory or clears away another training
        world.wait()
        if world.writes:
            resume.clear_others()
        training, validation = _subjects(job, plan.spacing, resume.volumes, world)
        training = _usable(training, job.config)
        config = _taught(training, job.config)
        hooks = {"on_epoch": on_epoch if world.writes else None, "on_step": on_step}
        state = train(training, validation, config, plan.spacing, device=device, resume=resume, world=world, **hooks)
        if world.writes:
            write_plan(plan, job.folder)
            write_history(state.rows, job.folder / HISTORY_FILE)
            write_weights(state.reader().state_dict(), job.folder / WEIGHTS_FILE)
            _write_ctpa_pathway(state, job.folder / CTPA_WEIGHTS_FILE)
            del training, validation  # whose files are mapped: NFS keeps what is open
            resume.remove()


def _write_ctpa_pathway(state: Training, path: Path) -> None:
    """Keep a CTPA pathway that was trained beside the NCT's, which alone reads scans; else remove an earlier's file."""
    if state.reads == "nct" and "ctpa" in state.pathways:
        write_weights(state.pathways["ctpa"].state_dict(), path)
    else:
        path.unlink(missing_ok=True)


def write_history(rows: Sequence[Row], path: Path) -> None:
    """Write `history.csv`; what was not computed is empty."""
    write_table(path, COLUMNS, rows)


def write_weights(state: dict[str, Tensor], path: Path) -> None:
    """Write a pathway's weights as safetensors: float32, on the CPU, in plain memory order.

    Raises CpmnError if one of them is not a finite number.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    if not all_finite(weights):
        raise CpmnError(
            "the training diverged in its last step: weights are not numbers. Lower train.schedule.learning_rate."
        )
    with written_atomically(path) as temporary:
        save_file(weights, temporary)


def _of_those_who_take_part(job: FoldJob) -> FoldJob:
    """The job without excluded patients, and without CTPA and masks that this training does not read."""
    parts = {part: _taking_part(getattr(job, part), job.excluded, part) for part in ("training", "validation")}
    if not job.config.reads_ctpa:
        parts = {part: tuple(p for p in patients if p not in job.ctpa_alone) for part, patients in parts.items()}
    patients = {patient for part in parts.values() for patient in part}
    paired = job.paired & patients if job.config.reads_ctpa else frozenset()
    masked = job.masked & set(parts["training"]) if job.config.sampling.vein_fraction else frozenset()
    masked = frozenset(patient for patient in masked if _is_usable(job.crops / patient / "vessels.nii.gz"))
    others = {name: getattr(job, name) & patients for name in ("ctpa_alone", "reported")}
    return job.model_copy(update=parts | others | {"paired": paired, "masked": masked, "excluded": {}})


def _taking_part(patients: Sequence[str], excluded: Mapping[str, str], part: str) -> tuple[str, ...]:
    for patient in patients:
        if patient in excluded:
            logger.warning("patient %s takes no part in %s: %s", patient, part, excluded[patient])
    return tuple(patient for patient in patients if patient not in excluded)


def _is_usable(mask: Path) -> bool:
    """Whether the crop stage did not leave a vessel mask out, for which it writes an empty file."""
    return not mask.is_file() or mask.stat().st_size > 0


def _key(job: FoldJob) -> str:
    """What the result depends on (see `resume_key`)."""
    settings = job.model_dump(mode="json", include={"variant", "training", "validation", "labels"})
    settings |= {"config": job.config.model_dump(mode="json", exclude=NO_RESULT)}
    settings |= {name: sorted(getattr(job, name)) for name in ("paired", "ctpa_alone", "reported")}
    return resume_key(settings, _existing_files(job))


def _existing_files(job: FoldJob) -> dict[str, list[Path]]:
    files = {patient: list(job.files(patient).values()) for patient in job.patients}
    missing = [str(path) for paths in files.values() for path in paths if not path.is_file()]
    if missing:
        raise CpmnError(f"training needs {', '.join(missing)}. Run the crop stage first, or exclude the patient.")
    return files


def _check_classes(job: FoldJob) -> None:
    reader = job.config.network.reader
    if not any(job.labels[patient] and reader in job.phases(patient) for patient in job.training):
        held = job.variant == "annotate" and any(job.labels[patient] for patient in job.validation)
        more = " With annotate.folds: 1 one network learns from all of them, and nothing measures it." if held else ""
        raise CpmnError(
            f"no PE patient with an {reader.upper()} is left to train on ({len(job.training)} others). "
            f"See the reasons of exclusion above; mend these patients or add others.{more}"
        )


def _subjects(job: FoldJob, spacing: Spacing, cache: Path, world: World) -> tuple[list[Subject], list[Subject]]:
    """Training and validation subjects; each process makes the volumes of its share of them, and all read all."""
    files = {patient: job.files(patient) for patient in job.patients}
    read = partial(load_subjects, files=files, labels=job.labels, spacing=spacing, cache=cache, config=job.config)
    if world.size > 1:
        read(world.share(job.patients))
        world.wait()
    annotated = job.config.sampling.annotated
    training = [_as_known(subject, job, annotated) for subject in read(job.training)]
    validation = [_as_known(subject, job, annotated=False) for subject in read(job.validation)]
    return with_chances(training, job.config), validation


def _as_known(subject: Subject, job: FoldJob, annotated: bool) -> Subject:
    """The subject with what is known of its clots: `annotate` tells where some are, unless it is not to be heard."""
    if subject.label == 0 or subject.patient not in job.reported:
        return subject
    return replace(subject, complete=False) if annotated and subject.embolus.any() else subject.without_outline()


def _usable(subjects: list[Subject], config: TrainConfig) -> list[Subject]:
    """Subjects to train on. Raises CpmnError if they cannot serve the settings."""
    subjects = _with_clots(subjects)
    _log_kinds(subjects)
    if config.schedule.pretraining_fraction and not any(
        subject.ctpa is not None and len(subject.clot_voxels) for subject in subjects
    ):
        raise CpmnError(
            "pretraining on CTPA needs a PE patient with a CTPA. Set train.schedule.pretraining_fraction to 0."
        )
    if config.sampling.vein_fraction and not any(len(subject.vein_voxels) for subject in subjects):
        raise CpmnError(
            "train.sampling.vein_fraction asks for patches on veins, but no training patient has a vessel mask with "
            "veins. Name masks in the column vessels of cohort.csv, or set train.sampling.vein_fraction to 0."
        )
    if not any(one.complete for one in subjects):
        logger.warning("nobody who trains is known to be free of clots anywhere: add patients without PE")
    if config.sampling.hard_fraction and not normals(subjects, config.network.reader):
        logger.warning("nobody without PE trains: there are no hard negatives, and their patches lie near the lungs")
    if config.sampling.ctpa_source == "shuffled" and sum(subject.ctpa is not None for subject in subjects) < 2:
        raise CpmnError(
            "train.sampling.ctpa_source shuffled needs at least two patients with a CTPA, to feed one the other's."
        )
    return subjects


def _with_clots(subjects: list[Subject]) -> list[Subject]:
    """Subjects whose label can be trusted: a PE patient without clot in the crop would teach that clots are not.

    Raises CpmnError if no PE patient is left.
    """
    kept = []
    for subject in subjects:
        if subject.label and subject.outlined and not len(subject.clot_voxels):
            logger.warning("patient %s has PE but no clot inside the crop: it is left out of training", subject.patient)
        else:
            kept.append(subject)
    if not any(subject.label for subject in kept):
        raise CpmnError("no PE patient has a clot inside the crop. Look at the crops and at the propagated labels.")
    return kept


def _taught(subjects: list[Subject], config: TrainConfig) -> TrainConfig:
    """The settings; without teaching by a CTPA pathway that sees no clot: it would teach that there are none.

    Raises CpmnError if nobody tells the pathway that reads scans where clots are.
    """
    reader = config.network.reader
    vessel = any(not one.label and len(one.vessel_voxels) for one in subjects)  # where simulated emboli go
    simulated = vessel and config.sampling.simulated_fraction > 0
    marked = [one for one in subjects if one.outlined and len(one.clot_voxels)]
    own_ctpa = "ctpa" in config.network.pathways and config.sampling.ctpa_source == "ctpa"
    asked = own_ctpa and config.loss.teaching_weight > 0
    teaches = asked and (simulated or any(one.ctpa is not None for one in marked))
    reported = any(not one.complete and one.nct is not None and one.ctpa is not None for one in subjects)
    if not simulated and not any(getattr(one, reader) is not None for one in marked) and not (teaches and reported):
        raise CpmnError(
            f"nobody with an {reader.upper()} who trains has an outline of a clot: it would learn to mark nothing. "
            "Outline some patients, let annotate do so (if it ran, results/annotate/worklist.csv says why it outlined "
            "nothing), or set train.sampling.simulated_fraction above 0, which needs vessel in somebody without PE."
        )
    if reported and asked and not teaches:
        logger.warning("no CTPA that trains has an outline: its pathway does not teach the NCT's where clots are")
        return config.changed(loss={"teaching_weight": 0.0})
    return config


def _log_kinds(subjects: list[Subject]) -> None:
    kinds = {(True, True): "PE, outlined", (True, False): "PE, outlined by annotate"}
    counts = Counter(
        kinds.get((one.outlined, one.complete), "PE, by the label alone") if one.label else "no PE" for one in subjects
    )
    logger.info("training on %s", ", ".join(f"{count} {kind}" for kind, count in counts.items()))


def _fingerprint(job: FoldJob, resume: ResumeFolder) -> dict[str, Any]:
    """What the training patients' crops look like, which takes a second or more of each."""
    readable = [patient for patient in job.training if job.config.network.reader in job.phases(patient)]
    labels = [job.labels[patient] for patient in readable]
    return resume.once("fingerprint.json", lambda: fingerprint([job.files(patient) for patient in readable], labels))


def _planned(job: FoldJob, device: torch.device, images: dict[str, Any]) -> tuple[FoldJob, Plan]:
    """The job with the network that is trained, and its plan. Raises CpmnError if it does not fit the memory."""
    spacing = job.config.network.spacing or tuple(images["median_spacing"])
    config = planned(job.config, images, spacing)
    check_memory(config, spacing, device)
    network = config.network
    center, scale = network.window(network.reader)
    plan = Plan(
        format=1,
        variant=job.variant,
        fold=job.fold,
        seed=config.seed,
        spacing=spacing,
        patch_size=network.patch_size,
        channels=network.channels,
        strides=pooling_strides(spacing, network.patch_size, len(network.channels)),
        parameters=parameters(config, spacing),
        training_mb=round(training_bytes(config, spacing) / 1e6),
        window_center=center,
        blood_window=network.blood_window and network.reader == "nct",
        absolute_hu=network.absolute_hu,
        window_scale=scale,
        clip=network.clip,
        fingerprint=images,
        config=config.model_dump(mode="json"),
        device=device_name(device),
        versions={"cpmn": cpmn.__version__} | {name: metadata.version(name) for name in PACKAGES},
    )
    return job.model_copy(update={"config": config}), plan
