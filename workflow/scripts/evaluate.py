"""Evaluate one variant on the test patients, with threshold and combination from out-of-fold validation scores.

Input: models, crops, native grids, references. Output: metrics, patients, decision rule, ROC, predictions.
"""

from pathlib import Path

from cpmn.cohort.roles import check_plans, read_splits
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.config.evaluate import EvaluateConfig
from cpmn.evaluate.stage import evaluate_variant
from cpmn.job.logs import job_log
from cpmn.job.status import excluded_patients, require_patients
from cpmn.track import attempt, sync_variant, track_of

with job_log(snakemake.log[0], snakemake.params.get("code")):
    track = track_of(snakemake.config)
    variant, folder = snakemake.wildcards.variant, Path(snakemake.output.metrics).parent
    results = folder.parents[1]
    patients = [Patient.model_validate(row) for row in snakemake.params.cohort]
    check_plans([Path(model).with_name("plan.json") for model in snakemake.input.models], snakemake.params.trained)
    splits = read_splits(Path(snakemake.input.splits), patients)
    excluded = excluded_patients([patient.patient_id for patient in patients if patient.nct], results)
    for fold in splits["folds"]:
        require_patients([*fold["train"], *fold["validation"]], excluded, snakemake.params.min_patients)
    evaluate_variant(
        variant=variant,
        splits=splits,
        patients=patients,
        results=results,
        excluded=excluded,
        folder=folder,
        config=EvaluateConfig.model_validate(snakemake.params.settings),
        threads=snakemake.threads,
        crop=CropConfig.model_validate(snakemake.params.crop),
        convert=ConvertConfig.model_validate(snakemake.params.convert),
        on_bad_patient=snakemake.config["on_bad_patient"],
        cohort={key: track[key] for key in ("cohort", "data_hash")},
    )
    if track["run_id"]:
        attempt("sending a variant's figures", sync_variant, track, folder)
