"""Create the experiment and the parent run in MLflow before any training: `results/track.json`.

Without a working MLflow the file says so, and everything else goes on.
"""

from cpmn.job.logs import job_log
from cpmn.track import track_of

with job_log(snakemake.log[0], snakemake.params.get("code")):
    track_of(snakemake.config)
