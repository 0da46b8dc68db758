"""The stages `convert` to `crop` of one patient in one process, with the files of the workflow's own rules.

A job of Snakemake's starts an interpreter and is recorded: at the study's size four jobs a patient cost more than
their work. What the stages do, and what becomes of a bad patient, is the workflow's.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cpmn.annotate.crops import crop_ctpa
from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import Patient
from cpmn.config.root import Config
from cpmn.convert.stage import convert_patient
from cpmn.crop.stage import crop_patient
from cpmn.job.status import run_patient_stage
from cpmn.propagate.stage import propagate_patient, source_of
from cpmn.volume.images import read_image, same_grid

PRODUCTS = {  # by stage, in order; those of the CTPA are written for pairs alone
    "convert": ("nct.nii.gz", "nct.json", "ctpa.nii.gz", "ctpa.json"),
    "register": (
        "affine.mat",
        "warp.nii.gz",
        "inverse_warp.nii.gz",
        "ctpa_in_nct.nii.gz",
        "quality.json",
        "quality.png",
    ),
    "annotate/crop": ("ctpa.nii.gz", "embolus.nii.gz", "lung.nii.gz", "crop.json"),
    "annotate": ("embolus.nii.gz", "probability.nii.gz", "picture.png", "annotate.json"),
    "propagate": ("embolus.nii.gz",),
    "crop": ("nct.nii.gz", "ctpa.nii.gz", "embolus.nii.gz", "lung.nii.gz", "crop.json"),
}
MODULES = {stage: f"cpmn.{stage}.stage" for stage in PRODUCTS} | {"annotate/crop": "cpmn.annotate.crops"}
TEACHING = ("annotate/crop",)
"""Stages of those who teach the networks of `annotate`."""
READING = ("annotate", "propagate", "crop")
"""Stages of those whom these networks outline."""
CARRYING = ("propagate", "crop")
"""Stages of those whom others than `annotate` have outlined (`own` of the protocol), or nobody at all."""


def stages_of(patient: Patient) -> tuple[str, ...]:
    """What follows from a patient's scans alone. A pair with PE whose CTPA nobody outlined waits for a network."""
    if not patient.nct:
        return ("convert",)
    if not patient.ctpa:
        return ("convert", "propagate", "crop")
    waits = patient.label and not patient.ctpa_mask
    return ("convert", "register") if waits else ("convert", "register", "propagate", "crop")


def products_of(patient: Patient, results: Path, stages: Sequence[str]) -> dict[str, list[Path]]:
    """What `stages` write of a patient, by stage; `status.json` is last."""
    return {
        stage: [
            results / stage / patient.patient_id / file
            for file in (*PRODUCTS[stage], "status.json")
            if (patient.ctpa or not file.startswith("ctpa")) and (patient.nct or not file.startswith("nct"))
        ]
        for stage in stages
    }


def preprocess_patient(
    patient: Patient, results: Path, config: Config, stages: Sequence[str], own: Path | None = None
) -> None:
    """Run `stages` of one patient on one thread and write each stage's `status.json`.

    own : clot ids of a pair that nobody outlined, on the grid of its NCT or its CTPA; taken like those of `annotate`.

    A patient that a stage cannot process is excluded, or raises CpmnError, by `config.on_bad_patient`.
    """
    work = WORK | {"propagate": partial(_propagate, own=own)}
    chain = tuple(dict.fromkeys((*stages_of(patient), *stages)))
    for stage, files in products_of(patient, results, stages).items():
        before = ("convert",) if stage in TEACHING else chain[: chain.index(stage)]
        run_patient_stage(
            partial(work[stage], patient, results, config),
            stage=stage.partition("/")[0],
            patient=patient.patient_id,
            outputs=files[:-1],
            status_path=files[-1],
            upstream=[results / one / patient.patient_id / "status.json" for one in before],
            on_bad_patient=config.on_bad_patient,
            source=partial(source_of, patient, files[0]) if stage == "propagate" else None,
        )


def _convert(patient: Patient, results: Path, config: Config) -> None:
    convert_patient(patient, results / "convert" / patient.patient_id, config.convert)


def _register(patient: Patient, results: Path, config: Config) -> None:
    from cpmn.register.stage import register_patient  # loads ants, which patients without a CTPA do not need

    scans, folder = results / "convert" / patient.patient_id, results / "register" / patient.patient_id
    register_patient(
        patient.patient_id,
        scans / "nct.nii.gz",
        scans / "ctpa.nii.gz",
        folder,
        config.register_,
        threads=1,
        must_pass=config.on_bad_patient == "stop",
        minimum_lung_ml=config.crop.minimum_lung_ml,
    )


def _annotate_crop(patient: Patient, results: Path, config: Config) -> None:
    name = patient.patient_id
    ctpa, nct = (results / "convert" / name / f"{phase}.nii.gz" for phase in ("ctpa", "nct"))
    crop_ctpa(patient, ctpa, results / "annotate/crop" / name, config.crop, nct=nct if patient.nct else None)


def _annotate(patient: Patient, results: Path, config: Config) -> None:
    from cpmn.annotate.stage import annotate_patient  # loads torch, which no other stage needs

    name = patient.patient_id
    annotate_patient(
        patient,
        results / "convert" / name / "ctpa.nii.gz",
        [results / f"annotate/fold-{fold}" for fold in range(config.annotate.folds)],
        results / "annotate" / name,
        config.annotate,
        config.crop,
        config.convert,
        config.evaluate.device,
    )


def _propagate(patient: Patient, results: Path, config: Config, own: Path | None) -> None:
    scans, registered = results / "convert" / patient.patient_id, results / "register" / patient.patient_id
    output = results / "propagate" / patient.patient_id / "embolus.nii.gz"
    if own and same_grid(read_image(own), read_image(scans / "nct.nii.gz")):
        shutil.copyfile(own, output)
        return
    propagate_patient(
        patient,
        nct=scans / "nct.nii.gz",
        ctpa=scans / "ctpa.nii.gz" if patient.ctpa else None,
        affine=registered / "affine.mat" if patient.ctpa else None,
        warp=registered / "warp.nii.gz" if patient.ctpa else None,
        output=output,
        config=config.propagate,
        annotated=own or _annotated(patient, results),
    )


def _annotated(patient: Patient, results: Path) -> Path | None:
    """What `annotate` outlined of a patient whom nobody did."""
    outline = results / "annotate" / patient.patient_id / "embolus.nii.gz"
    return outline if is_reported(patient) and outline.exists() else None


def _crop(patient: Patient, results: Path, config: Config) -> None:
    name = patient.patient_id
    crop_patient(
        name,
        nct=results / "convert" / name / "nct.nii.gz",
        ctpa_in_nct=results / "register" / name / "ctpa_in_nct.nii.gz" if patient.ctpa else None,
        embolus=results / "propagate" / name / "embolus.nii.gz",
        folder=results / "crop" / name,
        config=config.crop,
    )


WORK = {
    "convert": _convert,
    "register": _register,
    "annotate/crop": _annotate_crop,
    "annotate": _annotate,
    "crop": _crop,
}
