"""Write who is in which part: `results/train/splits.json`; or say why the cohort cannot be split."""

from cpmn.cohort.splits import split_cohort
from cpmn.config.root import load_config
from cpmn.files import write_json
from cpmn.job.identity import cohort_of
from cpmn.job.logs import job_log

with job_log(snakemake.log[0]):
    config = load_config(snakemake.config)
    write_json(snakemake.output[0], split_cohort(cohort_of(config), config.train))
