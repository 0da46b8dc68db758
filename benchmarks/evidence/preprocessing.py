"""The stages `convert` to `crop` on a training cohort, in one process.

The stages' own functions in the workflow's order, writing the workflow's files. Without Snakemake, whose jobs start
an interpreter each and whose records take seconds a job on a busy machine: 320 jobs would cost more than the work.
"""

from pathlib import Path

from benchmarks.evidence.cohorts import run_folder, training_folder, training_names, write_sheets
from benchmarks.evidence.plan import CONFIG_FILE, Difficulty, Plan, read_config
from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.config.root import Config
from cpmn.convert.stage import convert_patient
from cpmn.crop.stage import crop_patient
from cpmn.job.status import run_patient_stage
from cpmn.propagate.stage import propagate_patient

PARTS = 2  # a cohort is done in two halves, so that two cores can work at it
CROPPED = ("nct.nii.gz", "embolus.nii.gz", "lung.nii.gz", "crop.json")


def missing_crops(plan: Plan, difficulty: Difficulty, exact: bool, part: int) -> list[str]:
    """Patients of a half of the training cohort that have not reached `crop`."""
    crops = run_folder(difficulty, exact) / "results" / "crop"
    return [name for name in training_names(plan)[part::PARTS] if not (crops / name / "status.json").is_file()]


def preprocess(plan: Plan, difficulty: Difficulty, exact: bool, part: int) -> None:
    """Bring the missing patients of a half to `crop`; `exact` with the truth for annotation and without CTPA."""
    results = run_folder(difficulty, exact) / "results"
    patients = {p.patient_id: p for p in load_cohort(write_sheets(plan, training_folder(difficulty), exact))}
    config = read_config(CONFIG_FILE)
    for name in missing_crops(plan, difficulty, exact, part):
        folder = results / "crop" / name
        status = run_patient_stage(
            lambda name=name: preprocess_patient(patients[name], results, config),
            stage="crop",
            patient=name,
            outputs=[folder / file for file in CROPPED],
            status_path=folder / "status.json",
            on_bad_patient="exclude",
        )
        print(name, status["reason"], flush=True)


def preprocess_patient(patient: Patient, results: Path, config: Config) -> None:
    """`convert` to `crop` for one patient, on one thread. Raises CpmnError as the stages do."""
    name = patient.patient_id
    converted, registered = results / "convert" / name, results / "register" / name
    embolus = results / "propagate" / name / "embolus.nii.gz"
    nct, ctpa = converted / "nct.nii.gz", converted / "ctpa.nii.gz" if patient.ctpa else None
    convert_patient(patient, converted, config.convert)
    if ctpa:
        from cpmn.register.stage import register_patient  # loads ants, which exact labels do not need

        register_patient(name, nct, ctpa, registered, config.register_, threads=1)
    products = ("affine.mat", "warp.nii.gz", "ctpa_in_nct.nii.gz")
    affine, warp, warped = (registered / product if ctpa else None for product in products)
    settings = config.propagate
    propagate_patient(patient, nct=nct, ctpa=ctpa, affine=affine, warp=warp, output=embolus, config=settings)
    folder = results / "crop" / name
    crop_patient(name, nct=nct, ctpa_in_nct=warped, embolus=embolus, folder=folder, config=config.crop)
