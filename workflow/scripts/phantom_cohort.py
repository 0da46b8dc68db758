"""Write the phantom's cohort sheet, `data/phantom/cohort.csv`."""

from pathlib import Path

from cpmn.config.phantom import PhantomConfig
from cpmn.job.logs import job_log
from cpmn.phantom.stage import write_cohort

with job_log(snakemake.log[0], snakemake.params.get("code")):
    config = PhantomConfig.model_validate(snakemake.params.settings)
    write_cohort(config, Path(snakemake.output[0]).parent)
