"""Make a batch of the study's patients: both phases as DICOM to train on, the NCT and its truth alone to score on."""

from pathlib import Path

from cpmn.config.phantom import PhantomConfig
from cpmn.job.logs import job_log
from cpmn.phantom.stage import write_patient, write_truth

with job_log(snakemake.log[0], snakemake.params.get("code")):
    config = PhantomConfig.model_validate(snakemake.params.settings)
    write = write_patient if snakemake.params.paired else write_truth
    for name in snakemake.params.names:
        write(config, name, Path(snakemake.params.folder) / name)
