"""Carry one patient's embolus labels to the native NCT grid.

Input: converted volumes, transforms, masks of the patient's row. Output: `embolus.nii.gz`, clot ids kept.
"""

from pathlib import Path

from cpmn.cohort.sheet import Patient
from cpmn.config.propagate import PropagateConfig
from cpmn.job.logs import job_log
from cpmn.job.status import run_patient_stage
from cpmn.propagate.stage import propagate_patient, source_of

with job_log(snakemake.log[0], snakemake.params.get("code")):
    patient = Patient.model_validate(snakemake.params.patient)
    annotated = [*snakemake.input.get("annotated", [])]
    paired = {name: Path(snakemake.input[name]) for name in ("ctpa", "affine", "warp") if patient.ctpa}
    run_patient_stage(
        lambda: propagate_patient(
            patient,
            nct=Path(snakemake.input.nct),
            ctpa=paired.get("ctpa"),
            affine=paired.get("affine"),
            warp=paired.get("warp"),
            output=Path(snakemake.output.embolus),
            config=PropagateConfig.model_validate(snakemake.params.settings),
            annotated=Path(annotated[0]) if annotated else None,
            unannotated=snakemake.params.unannotated,
        ),
        stage="propagate",
        patient=patient.patient_id,
        outputs=[snakemake.output.embolus],
        status_path=snakemake.output.status,
        upstream=[*snakemake.input.upstream, *snakemake.input.get("annotate_status", [])],
        on_bad_patient=snakemake.config["on_bad_patient"],
        source=lambda: source_of(patient, Path(snakemake.output.embolus)),
    )
