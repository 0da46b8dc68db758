"""Register one patient's CTPA (moving) onto the NCT (fixed).

Input: both converted volumes. Output: affine, warps, the CTPA on the NCT grid, quality figures and their picture.
"""

from pathlib import Path

from cpmn.config.register import RegisterConfig
from cpmn.job.logs import job_log
from cpmn.job.status import run_patient_stage
from cpmn.register.stage import register_patient

with job_log(snakemake.log[0], snakemake.params.get("code")):
    name = snakemake.wildcards.patient
    config = RegisterConfig.model_validate(snakemake.params.settings)
    nct, ctpa = Path(snakemake.input.nct), Path(snakemake.input.ctpa)
    folder = Path(snakemake.output.quality).parent
    run_patient_stage(
        lambda: register_patient(
            name,
            nct,
            ctpa,
            folder,
            config,
            snakemake.threads,
            must_pass=snakemake.config["on_bad_patient"] == "stop",
            minimum_lung_ml=snakemake.params.minimum_lung_ml,
        ),
        stage="register",
        patient=name,
        outputs=[path for path in snakemake.output if path != snakemake.output.status],
        status_path=snakemake.output.status,
        upstream=snakemake.input.upstream,
        on_bad_patient=snakemake.config["on_bad_patient"],
    )
