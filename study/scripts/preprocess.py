"""Bring a batch of patients through stages of the workflow, in one process."""

from pathlib import Path

from cpmn.cohort.sheet import Patient
from cpmn.config.root import load_config
from cpmn.job.logs import job_log
from study.preprocess import preprocess_patient

with job_log(snakemake.log[0], snakemake.params.get("code")):
    config = load_config(snakemake.params.settings)
    for row in snakemake.params.patients:
        patient = Patient.model_validate(row)
        stages, own = (asked.get(patient.patient_id) for asked in (snakemake.params.stages, snakemake.params.own))
        preprocess_patient(patient, Path("results"), config, stages, Path(own) if own else None)
