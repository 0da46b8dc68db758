"""Write who is in which part: `results/train/splits.json`; or say why the cohort cannot be split."""

from cpmn.errors import CpmnError
from cpmn.files import write_json
from cpmn.job.logs import job_log

with job_log(snakemake.log[0], snakemake.params.get("code")):
    if snakemake.params.splits is None:
        raise CpmnError(snakemake.params.reason)
    write_json(snakemake.output[0], snakemake.params.splits)
