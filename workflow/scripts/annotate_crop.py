"""Cut a CTPA that teaches `annotate` to its lung box.

Input: the converted CTPA and the patient's outline, if any. Output: sub-arrays of native CTPA voxels.
"""

from pathlib import Path

from cpmn.annotate.crops import crop_ctpa
from cpmn.cohort.sheet import Patient
from cpmn.config.crop import CropConfig
from cpmn.job.logs import job_log
from cpmn.job.status import run_patient_stage

with job_log(snakemake.log[0], snakemake.params.get("code")):
    patient = Patient.model_validate(snakemake.params.patient)
    run_patient_stage(
        lambda: crop_ctpa(
            patient,
            Path(snakemake.input.ctpa),
            Path(snakemake.output.box).parent,
            CropConfig.model_validate(snakemake.params.settings),
            snakemake.params.unannotated,
            Path(snakemake.input.nct[0]) if snakemake.input.nct else None,
        ),
        stage="annotate",
        patient=patient.patient_id,
        outputs=[path for path in snakemake.output if path != snakemake.output.status],
        status_path=snakemake.output.status,
        upstream=snakemake.input.upstream,
        on_bad_patient=snakemake.config["on_bad_patient"],
    )
