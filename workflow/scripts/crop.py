"""Crop one patient to the lung box, a function of the NCT alone.

Input: NCT, the CTPA on its grid (if any), labels. Output: sub-arrays of native voxels, the lungs and the box.
"""

from pathlib import Path

from cpmn.config.crop import CropConfig
from cpmn.crop.stage import crop_patient
from cpmn.job.logs import job_log
from cpmn.job.status import run_patient_stage

with job_log(snakemake.log[0], snakemake.params.get("code")):
    name = snakemake.wildcards.patient
    ctpa = snakemake.input.get("ctpa_in_nct")
    run_patient_stage(
        lambda: crop_patient(
            name,
            nct=Path(snakemake.input.nct),
            ctpa_in_nct=Path(ctpa) if ctpa else None,
            embolus=Path(snakemake.input.embolus),
            folder=Path(snakemake.output.box).parent,
            config=CropConfig.model_validate(snakemake.params.settings),
        ),
        stage="crop",
        patient=name,
        outputs=[path for path in snakemake.output if path != snakemake.output.status],
        status_path=snakemake.output.status,
        upstream=snakemake.input.upstream,
        on_bad_patient=snakemake.config["on_bad_patient"],
    )
