"""Write the report: one self-contained page, the model card and `run.json`.

Input: everything that the stages left. Output: `results/report/`.
"""

from pathlib import Path

from cpmn.cohort.sheet import Patient
from cpmn.config.root import load_config
from cpmn.job.logs import job_log
from cpmn.report.stage import write_report
from cpmn.track import attempt, sync_results, track_of

with job_log(snakemake.log[0], snakemake.params.get("code")):
    config, track = load_config(snakemake.params.config), track_of(snakemake.config)
    flags = {key: track[key] for key in ("data_hash", "commit", "cohort", "difficulty")}
    output = Path(snakemake.output.page).parent
    write_report(
        results=output.parent,
        patients=[Patient.model_validate(row) for row in snakemake.params.cohort],
        config=config,
        variants=snakemake.params.variants,
        output=output,
        flags={**flags, "synthetic": config.cohort is None},
    )
    if track["run_id"]:
        attempt("sending the report, and what was not sent before,", sync_results, output.parent)
