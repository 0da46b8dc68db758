"""Train one network that reads CTPA.

Input: crops of the CTPAs that teach. Output: model, plan and history.
"""

import logging
from pathlib import Path

from cpmn.config.train import TrainConfig
from cpmn.job.logs import job_log
from cpmn.job.status import read_status
from cpmn.train.fold import FoldJob
from cpmn.train.launch import launch_fold

with job_log(snakemake.log[0], snakemake.params.get("code")):
    asked, folder = snakemake.params, Path(snakemake.output.model).parent
    crops = folder.parent / "crop"
    parts = {"training": asked.patients["train"], "validation": asked.patients["held"]}
    statuses = {name: read_status(crops / name / "status.json") for part in parts.values() for name in part}
    job = FoldJob(
        variant="annotate",
        fold=int(snakemake.wildcards.fold),
        config=TrainConfig.model_validate(asked.settings),
        **parts,
        labels=asked.labels,
        paired=frozenset(),
        ctpa_alone=frozenset(statuses),
        excluded={name: status["reason"] for name, status in statuses.items() if not status["passed"]},
        crops=crops,
        ctpa_crops=crops,
        folder=folder,
        threads=snakemake.threads,
    )
    launch_fold(job, on_epoch=lambda row: logging.getLogger("annotate").debug("step %s", row["step"]))
