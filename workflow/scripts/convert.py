"""Convert one patient's scans to NIfTI in HU.

Input: DICOM folders or image files of the patient's row. Output: `{nct,ctpa}.nii.gz` with a JSON record each.
"""

from pathlib import Path

from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_patient
from cpmn.job.logs import job_log
from cpmn.job.status import run_patient_stage

with job_log(snakemake.log[0], snakemake.params.get("code")):
    patient = Patient.model_validate(snakemake.params.patient)
    config = ConvertConfig.model_validate(snakemake.params.settings)
    run_patient_stage(
        lambda: convert_patient(patient, Path(snakemake.output.status).parent, config),
        stage="convert",
        patient=patient.patient_id,
        outputs=[path for path in snakemake.output if path != snakemake.output.status],
        status_path=snakemake.output.status,
        on_bad_patient=snakemake.config["on_bad_patient"],
    )
