"""Write who is in which part: `results/train/splits.json`; or say why the cohort cannot be split."""

from cpmn.config.root import load_config
from cpmn.files import write_json
from cpmn.logs import job_log
from cpmn.runs import cohort_of
from cpmn.train.splits import split_cohort

with job_log(snakemake.log[0]):
    config = load_config(snakemake.config)
    write_json(snakemake.output[0], split_cohort(cohort_of(config), config.train))
