"""Outline the emboli of one CTPA that nobody outlined.

Input: the converted CTPA and networks that were not trained on it. Output: clot ids, probability, a picture, a record.
"""

from pathlib import Path

from cpmn.annotate.stage import annotate_patient
from cpmn.cohort.sheet import Patient
from cpmn.config.annotate import AnnotateConfig
from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.config.evaluate import device_of
from cpmn.job.logs import job_log
from cpmn.job.status import run_patient_stage

with job_log(snakemake.log[0], snakemake.params.get("code")):
    name = snakemake.wildcards.patient
    run_patient_stage(
        lambda: annotate_patient(
            Patient.model_validate(snakemake.params.patient),
            Path(snakemake.input.ctpa),
            [Path(path).parent for path in snakemake.input.networks],
            Path(snakemake.output.record).parent,
            AnnotateConfig.model_validate(snakemake.params.settings),
            CropConfig.model_validate(snakemake.params.crop),
            ConvertConfig.model_validate(snakemake.params.convert),
            device_of(snakemake.config),
        ),
        stage="annotate",
        patient=name,
        outputs=[path for path in snakemake.output if path != snakemake.output.status],
        status_path=snakemake.output.status,
        upstream=snakemake.input.upstream,
        on_bad_patient=snakemake.config["on_bad_patient"],
    )
