"""Cut a patient's vessel mask to the box of the lungs.

Input: NCT and its crop, the mask that the sheet names. Output: the mask on the crop's grid, empty if it was left out.
"""

from pathlib import Path

from cpmn.crop.artery_vein import crop_vessels
from cpmn.job.logs import job_log
from cpmn.job.status import run_patient_stage

with job_log(snakemake.log[0], snakemake.params.get("code")):
    name = snakemake.wildcards.patient
    run_patient_stage(
        lambda: crop_vessels(
            name,
            vessels=Path(snakemake.params.vessels),
            nct=Path(snakemake.input.nct),
            crop=Path(snakemake.input.crop),
            output=Path(snakemake.output.vessels),
        ),
        stage="crop",
        patient=name,
        outputs=[snakemake.output.vessels],
        status_path=snakemake.output.status,
        upstream=snakemake.input.upstream,
        on_bad_patient=snakemake.config["on_bad_patient"],
    )
