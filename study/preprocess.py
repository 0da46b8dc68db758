"""The stages `convert` to `crop` of one patient in one process, with the files of the workflow's own rules.

A job of Snakemake's starts an interpreter and is recorded: at the study's size four jobs a patient cost more than
their work. What the stages do, and what becomes of a bad patient, is the workflow's.
"""

from functools import partial
from pathlib import Path

from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import Patient
from cpmn.config.root import Config
from cpmn.convert.stage import convert_patient
from cpmn.crop.stage import crop_patient
from cpmn.job.status import run_patient_stage
from cpmn.propagate.stage import propagate_patient

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
    "propagate": ("embolus.nii.gz",),
    "crop": ("nct.nii.gz", "ctpa.nii.gz", "embolus.nii.gz", "lung.nii.gz", "crop.json"),
}


def products_of(patient: Patient, results: Path) -> dict[str, list[Path]]:
    """What is written of a patient, by stage; `status.json` is last.

    A pair that nobody outlined waits for `annotate` after its registration: the workflow's own rules take it on.
    """
    stages = [stage for stage in PRODUCTS if patient.ctpa or stage != "register"]
    if patient.ctpa and is_reported(patient):
        stages = ["convert", "register"]
    return {
        stage: [
            results / stage / patient.patient_id / file
            for file in (*PRODUCTS[stage], "status.json")
            if patient.ctpa or not file.startswith("ctpa")
        ]
        for stage in stages
    }


def preprocess_patient(patient: Patient, results: Path, config: Config) -> None:
    """Run the stages of one patient on one thread and write each stage's `status.json`.

    A patient that a stage cannot process is excluded, or raises CpmnError, by `config.on_bad_patient`.
    """
    upstream: list[Path] = []
    for stage, files in products_of(patient, results).items():
        run_patient_stage(
            partial(WORK[stage], patient, results, config),
            stage=stage,
            patient=patient.patient_id,
            outputs=files[:-1],
            status_path=files[-1],
            upstream=upstream,
            on_bad_patient=config.on_bad_patient,
        )
        upstream.append(files[-1])


def _convert(patient: Patient, results: Path, config: Config) -> None:
    convert_patient(patient, results / "convert" / patient.patient_id, config.convert)


def _register(patient: Patient, results: Path, config: Config) -> None:
    from cpmn.register.stage import register_patient  # loads ants, which patients without a CTPA do not need

    scans, folder = results / "convert" / patient.patient_id, results / "register" / patient.patient_id
    must_pass = config.on_bad_patient == "stop"
    nct, ctpa = scans / "nct.nii.gz", scans / "ctpa.nii.gz"
    register_patient(patient.patient_id, nct, ctpa, folder, config.register_, threads=1, must_pass=must_pass)


def _propagate(patient: Patient, results: Path, config: Config) -> None:
    scans, registered = results / "convert" / patient.patient_id, results / "register" / patient.patient_id
    propagate_patient(
        patient,
        nct=scans / "nct.nii.gz",
        ctpa=scans / "ctpa.nii.gz" if patient.ctpa else None,
        affine=registered / "affine.mat" if patient.ctpa else None,
        warp=registered / "warp.nii.gz" if patient.ctpa else None,
        output=results / "propagate" / patient.patient_id / "embolus.nii.gz",
        config=config.propagate,
    )


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


WORK = {"convert": _convert, "register": _register, "propagate": _propagate, "crop": _crop}
