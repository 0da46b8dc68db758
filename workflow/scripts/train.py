"""Train one variant on one fold.

Input: crops of the fold's training and validation patients. Output: model, plan and history.
"""

from pathlib import Path

from cpmn.config.train import TrainConfig
from cpmn.job.logs import job_log
from cpmn.job.status import excluded_ctpas, excluded_patients, failed_registrations, require_patients
from cpmn.track import LiveFold, track_of
from cpmn.train.fold import FoldJob
from cpmn.train.launch import launch_fold

with job_log(snakemake.log[0], snakemake.params.get("code")):
    asked, folder = snakemake.params, Path(snakemake.output.model).parent
    results = folder.parents[2]
    crops = results / "annotate" / "crop"
    part = {**asked.patients, "train": [name for name in asked.patients["train"] if name in asked.labels]}
    names = [*part["train"], *part["validation"]]
    with_nct = [name for name in names if name not in asked.ctpa_alone]
    excluded = excluded_patients(with_nct, results) | excluded_ctpas(asked.ctpa_alone, crops)
    excluded |= failed_registrations({Path(path).parent.name: path for path in snakemake.input.qualities})
    require_patients(names, excluded, snakemake.config["min_patients"])
    job = FoldJob(
        variant=snakemake.wildcards.variant,
        fold=int(snakemake.wildcards.fold),
        config=TrainConfig.model_validate(asked.settings),
        training=part["train"],
        validation=part["validation"],
        labels=asked.labels,
        paired=asked.paired,
        ctpa_alone=asked.ctpa_alone,
        reported=asked.reported,
        masked=asked.masked,
        excluded=excluded,
        crops=results / "crop",
        ctpa_crops=crops,
        folder=folder,
        threads=snakemake.threads,
    )
    with LiveFold(track_of(snakemake.config), folder) as live:
        launch_fold(job, on_epoch=live.add)
