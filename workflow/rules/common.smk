"""Configuration, cohort and the helpers that several rules share."""

import sys
from pathlib import Path
from time import time

from snakemake.logging import logger
from snakemake_interface_common.exceptions import WorkflowError

PROJECT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
sys.path.insert(
    0, str(PROJECT)
)  # Snakemake hands its search path on to every script, in whatever environment

# What a job's libraries read when they are loaded. ITK takes every core of the machine unless told otherwise; stages
# with several threads set their own number. Waiting OpenMP threads spin by default, which made a training on a busy
# machine ten times slower: here they sleep.
shell.prefix(
    "set -euo pipefail; "
    "export ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=${{ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS:-1}}; "
    "export OMP_WAIT_POLICY=${{OMP_WAIT_POLICY:-PASSIVE}}; "
)

from cpmn.annotate.teachers import readers
from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import require_references, shared_scans
from cpmn.config.root import load_config
from cpmn.errors import CpmnError
from cpmn.cohort.roles import set_apart, teaching_nobody
from cpmn.job.identity import cohort_name, cohort_of, refuse_phantom_instead, variant_records
from cpmn.job.dependencies import code_of, listing
from cpmn.job.status import left_out
from cpmn.job.trainable import lessons, trainable_splits


configfile: str(PROJECT / "config" / "config.yaml")


onstart:
    # Snakemake's limit of 100 jobs a second, its default, starts a timer with each look for ready jobs, and each timer
    # ends in another look: the more jobs are done, the busier it is, up to a whole core. A limit of the user's stays.
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def or_stop(function, *arguments):
    """Call `function`; a mistake of the user's stops Snakemake with the message alone."""
    try:
        return function(*arguments)
    except CpmnError as error:
        raise WorkflowError(str(error)) from None


CONFIG = or_stop(load_config, config)
or_stop(refuse_phantom_instead, Path("results"), CONFIG)
# Read by jobs from the configuration: as parameters of the rules they would process every finished patient again, and
# train what is trained. That too few are left, an evaluation that was made before says too.
config["on_bad_patient"] = CONFIG.on_bad_patient
config["min_patients"] = CONFIG.min_patients
COHORT = {patient.patient_id: patient for patient in or_stop(cohort_of, CONFIG)}
PATIENTS = list(COHORT)
PAIRED = [name for name, patient in COHORT.items() if patient.nct and patient.ctpa]
NCT_ALONE = [name for name, patient in COHORT.items() if not patient.ctpa]
CTPA_ALONE = [name for name, patient in COHORT.items() if not patient.nct]
WITH_NCT = [name for name in PATIENTS if name not in CTPA_ALONE]
MASKED = [name for name, patient in COHORT.items() if patient.vessels and patient.nct]
VARIANTS = variant_records(CONFIG)
REFERENCES = ("nct_truth", "nct_mask")
EVALUATED = ("predictions", "reference", "cam")  # what an evaluation writes of each patient

if earlier := or_stop(left_out, PATIENTS, Path("results")) if workflow.is_main_process else {}:
    logger.warning(
        "An earlier run went on without these; they stay out, unless their jobs run again for another reason:\n"
        + "".join(f"  {reason}\n" for reason in earlier.values())
        + f"To try them again, add: --forcerun {' '.join(earlier)}"
    )


wildcard_constraints:
    variant="|".join(VARIANTS),
    fold=r"\d+",


def expected(path):
    """Whether a file that the sheet names is there, or lies in `data`: there rules make it, perhaps those of a workflow
    that takes this one as a module."""
    return path is not None and (path.exists() or in_data(path))


def in_data(path):
    """Whether a path lies in the run's folder `data`, whose files rules may make."""
    return path.is_relative_to(Path("data").absolute())


def read_apart(pattern, **names):
    """Files that a job reads beside those that it has to wait for: named only where jobs share no folder and get what
    they name from a store. Elsewhere thousands of names would make each dry run longer.
    """
    return collect(pattern, **names) if workflow.storage_settings.default_storage_provider else []


def records_of(name):
    """What the stages recorded of a patient, below `results`."""
    if name in CTPA_ALONE:
        return [
            f"convert/{name}/ctpa.json",
            f"convert/{name}/status.json",
            f"annotate/crop/{name}/status.json",
        ]
    both = [f"convert/{name}/ctpa.json", f"register/{name}/quality.json"] if name in PAIRED else []
    return [f"convert/{name}/nct.json", f"crop/{name}/status.json", f"crop/{name}/crop.json", *both]


def until_used(path):
    """An output that preprocessing alone needs."""
    return path if CONFIG.keep_intermediates else temp(path)


def of_today(path):
    """Whether a file or folder is not dated in the future: Snakemake ends a run whose inputs are newer than its outputs
    ("clock skew")."""
    return max(path.lstat().st_mtime, path.stat().st_mtime) <= time()


def scans_of(*columns):
    """Input function: the files that a patient's row names and rules make, as far as they exist.

    Of all others `facts_of` says what they are; that one is absent is the job's to report.
    """

    def scans(wildcards):
        patient = patient_of(wildcards)
        if CONFIG.cohort is None:
            return [f"data/phantom/{wildcards.patient}"]
        named = [getattr(patient, column) for column in columns]
        return [str(path) for path in named if path and path.exists() and in_data(path) and of_today(path)]

    return scans


def facts_of(*columns):
    """Parameter function: what the files are that a patient's row names. One that is put in another's place may be older."""

    def facts(wildcards):
        return [] if CONFIG.cohort is None else listings([patient_of(wildcards)], columns)

    return facts


def listings(patients, columns):
    """What the folders are that rows name, and the files but for those in `data`, which rules may only make later."""
    named = [getattr(patient, column) for patient in patients for column in columns]
    return [
        listing(path) for path in named if path and (path.is_dir() or path.exists() and not in_data(path))
    ]


def any_of(names):
    """Regular expression for any of the patients in `names`, as a folder; matches nothing if there are none.

    Snakemake writes it into each path of each job, so that long lists made its work grow with the patients' square. So
    the fewer are listed, those who are meant or all others.
    """
    others = [name for name in PATIENTS if name not in set(names)]
    if len(names) <= len(others):
        return "|".join(names) or "(?!)"
    return (f"(?!(?:{'|'.join(others)})/)" if others else "") + "[A-Za-z0-9_-]+"


def patient_of(wildcards):
    """The patient's row. A file that a user asks for may name somebody else."""
    if wildcards.patient not in COHORT:
        raise WorkflowError(f"There is no patient {wildcards.patient} in the cohort sheet.")
    return COHORT[wildcards.patient]


def as_parameters(patient, **fields):
    """A patient's row for a job. Files in the run's folder are named from there: a run that is moved has nothing to do."""
    here = f"{Path.cwd()}/"
    row = patient.model_dump(mode="json", **fields)
    return {key: value.removeprefix(here) if isinstance(value, str) else value for key, value in row.items()}


def row_of(*without):
    """Parameter function: what preprocessing may know of a patient: never the reference for scoring, nor the split.

    Vessel masks have a job of their own. Columns that a stage does not read are `without`, so that it need not run again.
    """

    def row(wildcards):
        hidden = {"nct_truth", "vessels", "split", "group", *without}
        return as_parameters(patient_of(wildcards), exclude=hidden)

    return row


def vessels_of(wildcards):
    """The patient's vessel mask, as the sheet names it."""
    return as_parameters(patient_of(wildcards), include={"vessels"})["vessels"]


def splits_or_reason():
    """Who is in which part; or None and why, which the rule `splits` says to those who ask for a training."""
    try:
        return trainable_splits(list(COHORT.values()), CONFIG), ""
    except CpmnError as error:
        return None, str(error)


SPLITS, UNSPLIT = splits_or_reason()
FOLDS = SPLITS["folds"] if SPLITS else [{"train": [], "validation": []}]
SCORED = list(
    dict.fromkeys([*set_apart(SPLITS or {}), *(name for fold in FOLDS for name in fold["validation"])])
)
IDLE = teaching_nobody(SPLITS or {})
# Who teaches the networks of `annotate`, and whom they outline.
USING = CONFIG.train.unannotated == "use"
# Outlines that a person corrected teach no network, or each correction would read everybody again. Where results lie in
# a store, jobs do not see them: all must find the same.
CORRECTED = [
    name
    for name, patient in COHORT.items()
    if not workflow.storage_settings.default_storage_provider
    and patient.ctpa_mask
    and Path(f"results/annotate/{name}/annotate.json").exists()
]
READERS = readers(
    list(COHORT.values()) if USING else [],
    [*IDLE, *CORRECTED],
    CONFIG.annotate.folds,
    CONFIG.annotate.seed,
)
if workflow.is_main_process:
    logger.info(
        f"Cohort: {CONFIG.cohort or 'the built-in phantom'}, {len(PATIENTS)} patients\n"
        + "\n".join(f"  {line}" for line in lessons(list(COHORT.values()), CONFIG, IDLE))
    )
    for warning in shared_scans(COHORT.values()):
        logger.warning(warning)
    if USING and CORRECTED:
        logger.info(
            f"{', '.join(CORRECTED)}: outlined after `annotate` had drawn them, as a correction is. They teach the pathways "
            "and no network of `annotate`, which would read everybody again. To let them, delete results/annotate."
        )
    if CONFIG.cohort is not None:
        or_stop(require_references, [COHORT[name] for name in SCORED if not expected(COHORT[name].nct_truth)])


def fold_of(wildcards):
    """Training and validation patients of one fold."""
    return FOLDS[int(wildcards.fold)]


def fold_patients(wildcards):
    """All patients that a fold's training sees; test patients are never among them."""
    return [*fold_of(wildcards)["train"], *fold_of(wildcards)["validation"]]


def labels_of(wildcards):
    """Label of each patient that a fold's training sees."""
    taught = [
        *ctpa_alone_patients(wildcards),
        *(name for name in fold_patients(wildcards) if name in WITH_NCT),
    ]
    return {name: COHORT[name].label for name in taught}


def paired_patients(wildcards):
    """Those of them that have both phases."""
    return [name for name in fold_patients(wildcards) if name in PAIRED]


def reported_patients(wildcards):
    """Those of them that have PE of which nobody drew an outline."""
    return [name for name in fold_patients(wildcards) if is_reported(COHORT[name])]


def ctpa_alone_patients(wildcards):
    """Those of them that have a CTPA alone; none where the variant trains no pathway on it."""
    wanted = fold_patients(wildcards) if "ctpa" in settings_of(wildcards)["network"]["pathways"] else []
    return [name for name in wanted if name in CTPA_ALONE]


def ctpa_crops_of(wildcards):
    """Cropped volumes of those."""
    return collect(
        "results/annotate/crop/{patient}/{file}",
        patient=ctpa_alone_patients(wildcards),
        file=["status.json", "ctpa.nii.gz", "embolus.nii.gz", "lung.nii.gz"],
    )


def nct_of_pair(wildcards):
    """The converted NCT of a patient who has both phases."""
    return [f"results/convert/{wildcards.patient}/nct.nii.gz"] if wildcards.patient in PAIRED else []


def annotate_fold_of(wildcards):
    """Who teaches one network of `annotate`, and who is held from it."""
    return READERS["folds"][int(wildcards.fold)]


def annotated_of(wildcards):
    """The outline that `annotate` makes of a patient whom nobody outlined."""
    return collect("results/annotate/{patient}/embolus.nii.gz", patient=_read(wildcards))


def annotate_status_of(wildcards):
    """Whether it could."""
    return collect("results/annotate/{patient}/status.json", patient=_read(wildcards))


def _read(wildcards):
    return [wildcards.patient] if wildcards.patient in READERS["read"] else []


def crops_of(patients):
    """Input function: cropped volumes of the patients that the function `patients` names, or that stand in it."""

    def crops(wildcards):
        names = patients(wildcards) if callable(patients) else patients
        names = [name for name in names if name in WITH_NCT]
        paired = [name for name in names if name in PAIRED]
        shared = ["status.json", "nct.nii.gz", "embolus.nii.gz", "lung.nii.gz"]
        return collect("results/crop/{patient}/{file}", patient=names, file=shared) + collect(
            "results/crop/{patient}/ctpa.nii.gz", patient=paired
        )

    return crops


def qualities_of(patients):
    """Input function: registration quality of those of the patients that have a CTPA."""

    def qualities(wildcards):
        names = patients(wildcards) if callable(patients) else patients
        names = [name for name in names if name in PAIRED]
        return collect("results/register/{patient}/quality.json", patient=names)

    return qualities


def settings_of(wildcards):
    """Training settings of the wildcards' variant."""
    return VARIANTS[wildcards.variant]["settings"]


def masked_patients(wildcards):
    """Patients whose vessel mask a training takes veins from; none where the variant asks for none."""
    wanted = fold_patients(wildcards) if settings_of(wildcards)["sampling"]["vein_fraction"] else []
    return [name for name in wanted if name in MASKED]


def masks_of(wildcards):
    """Cut vessel masks of those patients."""
    return collect("results/crop/{patient}/vessels.nii.gz", patient=masked_patients(wildcards))


def lost_of_evaluation():
    """What a finished evaluation wrote of its patients and is not there any more.

    Named alone, and in the target `all`. For each file that a job takes from another, Snakemake goes through all that the
    other takes, and that made dry runs grow with the patients' square. A job's own Snakemake need not look.
    """
    if not workflow.is_main_process:
        return []
    finished = [variant for variant in VARIANTS if Path(f"results/evaluate/{variant}/metrics.json").exists()]
    named = collect(
        "results/evaluate/{variant}/{kind}/{patient}.nii.gz", variant=finished, kind=EVALUATED, patient=SCORED
    )
    return [path for path in named if not Path(path).exists()]


def references(wildcards):
    """Files that only evaluation may read, as far as rules make them."""
    if CONFIG.cohort is None:
        return collect("data/phantom/{patient}", patient=SCORED)
    named = [getattr(COHORT[name], key) for name in SCORED for key in REFERENCES]
    return [
        str(path) for path in named if path and in_data(path) and not (path.exists() and not of_today(path))
    ]


def reference_facts(wildcards):
    """What those files are."""
    return [] if CONFIG.cohort is None else listings([COHORT[name] for name in SCORED], REFERENCES)
