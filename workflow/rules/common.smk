"""Configuration, cohort and the helpers that several rules share."""

import os
import sys
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError

PROJECT = Path(workflow.basedir).parent
sys.path.insert(0, str(PROJECT))
# Jobs run in other processes, perhaps in other environments: they find the package here.
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([str(PROJECT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
)

# Waiting OpenMP threads sleep: by default they spin, which made a training on a busy machine ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from cpmn.cohort import load_cohort, parse_cohort
from cpmn.config.root import load_config
from cpmn.config.variants import base_of, resolve_variant
from cpmn.errors import CpmnError
from cpmn.phantom.rows import phantom_rows
from cpmn.sources import source_files
from cpmn.train.splits import split_cohort


configfile: str(PROJECT / "config" / "config.yaml")


def or_stop(function, *arguments):
    """Call `function`; a mistake of the user's stops Snakemake with the message alone."""
    try:
        return function(*arguments)
    except CpmnError as error:
        raise WorkflowError(str(error)) from None


def read_cohort():
    """The user's cohort, or the built-in phantom's, whose rows follow from the configuration."""
    if CONFIG.cohort is not None:
        return or_stop(load_cohort, CONFIG.cohort)
    rows = phantom_rows(CONFIG.phantom)
    return parse_cohort(list(rows[0]), rows, Path("data/phantom/cohort.csv").absolute())


CONFIG = or_stop(load_config, config)
COHORT = {patient.patient_id: patient for patient in read_cohort()}
PATIENTS = list(COHORT)
PAIRED = [name for name, patient in COHORT.items() if patient.ctpa]
UNPAIRED = [name for name in PATIENTS if name not in PAIRED]
VARIANTS = {name: resolve_variant(CONFIG.train, name, CONFIG.variants) for name in CONFIG.train.variants}


wildcard_constraints:
    patient="|".join(PATIENTS),
    variant="|".join(VARIANTS),
    fold=r"\d+",


def code_of(module):
    """Source files of a stage: Snakemake does not see a change in imported modules by itself."""
    return source_files(module)


def scans_of(*columns):
    """Input function: the files that a patient's row names, as far as they exist (absence is the job's to report)."""

    def scans(wildcards):
        patient = COHORT[wildcards.patient]
        if CONFIG.cohort is None:
            return [f"data/phantom/{wildcards.patient}"]
        named = [getattr(patient, column) for column in columns]
        return [str(path) for path in named if path and path.exists()]

    return scans


def any_of(names):
    """Regular expression for any of the names; matches nothing if there are none."""
    return "|".join(names) or "(?!)"


def row_of(wildcards):
    """What preprocessing may know of a patient: never the reference for scoring, nor the split."""
    return COHORT[wildcards.patient].model_dump(mode="json", exclude={"nct_truth", "split", "group"})


def splits(wildcards=None):
    """Who is in which part; stops with what is missing if the cohort cannot be split."""
    return or_stop(split_cohort, list(COHORT.values()), CONFIG.train)


def fold_of(wildcards):
    """Training and validation patients of one fold."""
    return splits()["folds"][int(wildcards.fold)]


def fold_patients(wildcards):
    """All patients that a fold's training sees; test patients are never among them."""
    return [*fold_of(wildcards)["train"], *fold_of(wildcards)["validation"]]


def fold_numbers(wildcards=None):
    """Numbers of the folds."""
    return list(range(len(splits()["folds"])))


def scored_patients(wildcards=None):
    """Patients that get a prediction: the test patients and every fold's validation patients."""
    parts = [splits()["test"], *(fold["validation"] for fold in splits()["folds"])]
    return list(dict.fromkeys(name for part in parts for name in part))


def scored_if_splittable():
    """As `scored_patients`, but nobody if the cohort cannot be split: preprocessing alone is then still possible."""
    try:
        split_cohort(list(COHORT.values()), CONFIG.train)
    except CpmnError:
        return []
    return scored_patients()


SCORED = scored_if_splittable()


def crops_of(patients):
    """Input function: cropped volumes of the patients that the function `patients` names."""

    def crops(wildcards):
        names = patients(wildcards)
        paired = [name for name in names if name in PAIRED]
        shared = ["status.json", "nct.nii.gz", "embolus.nii.gz", "lung.nii.gz"]
        return collect("results/crop/{patient}/{file}", patient=names, file=shared) + collect(
            "results/crop/{patient}/ctpa.nii.gz", patient=paired
        )

    return crops


def qualities_of(patients):
    """Input function: registration quality of those of the patients that have a CTPA."""

    def qualities(wildcards):
        names = [name for name in patients(wildcards) if name in PAIRED]
        return collect("results/register/{patient}/quality.json", patient=names)

    return qualities


def variant_settings(wildcards):
    """Training settings of the wildcards' variant."""
    return settings_of(wildcards.variant)


def settings_of(name):
    """Training settings of a variant."""
    return VARIANTS[name].model_dump(mode="json", exclude={"variants"})


def variant_record(name):
    """What identifies a variant in tables: its base and its seed."""
    return {"base": base_of(name, CONFIG.variants), "seed": VARIANTS[name].seed}


def cohort_name():
    """Name of the cohort in tables and in MLflow: its folder's, or the phantom's difficulty."""
    if CONFIG.cohort is None:
        return f"phantom-{CONFIG.phantom.difficulty}"
    return Path(CONFIG.cohort).absolute().parent.name


def references(wildcards):
    """Files that only evaluation may read, as far as they exist."""
    if CONFIG.cohort is None:
        return collect("data/phantom/{patient}", patient=scored_patients())
    named = [getattr(COHORT[name], key) for name in scored_patients() for key in ("nct_truth", "nct_mask")]
    return [str(path) for path in named if path and path.exists()]
