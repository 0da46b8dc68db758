"""Hold the rows of the cohort against each other: equal voxels, or one person, under two ids.

Input: the records of all converted scans. Output: `results/convert/cohort.json`, what the checks found.
"""

from pathlib import Path

from cpmn.checks.cohort import check_cohort, read_records
from cpmn.checks.finding import settle
from cpmn.cohort.sheet import Patient
from cpmn.files import write_json
from cpmn.job.logs import job_log

with job_log(snakemake.log[0], snakemake.params.get("code")):
    patients = [Patient.model_validate(row) for row in snakemake.params.cohort]
    output = Path(snakemake.output[0])
    findings = settle(check_cohort(patients, read_records(output.parent, patients)))
    write_json(output, {"checks": [finding.to_json() for finding in findings]})
