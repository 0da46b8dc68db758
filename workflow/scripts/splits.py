"""Write who is in which part: `results/train/splits.json`."""

from cpmn.files import write_json
from cpmn.logs import job_log

with job_log(snakemake.log[0]):
    write_json(snakemake.output[0], snakemake.params.splits)
