"""Give the alias `champion` to a variant that is better than the present one beyond chance: `results/promote.json`."""

from pathlib import Path

from cpmn.config.evaluate import EvaluateConfig
from cpmn.errors import CpmnError
from cpmn.job.logs import job_log
from cpmn.track import track_of
from cpmn.track.champion import promote

with job_log(snakemake.log[0], snakemake.params.get("code")):
    if not track_of(snakemake.config)["run_id"]:
        raise CpmnError("a champion needs MLflow: set track.enabled to true, and check that track.uri can be reached.")
    output = Path(snakemake.output[0])
    promote(
        output.parent,
        output,
        metric=snakemake.params.metric,
        config=EvaluateConfig.model_validate(snakemake.params.settings),
    )
