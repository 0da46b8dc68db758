"""Train one variant on one fold.

Input: crops of the fold's training and validation patients. Output: model, plan and history.
"""

from pathlib import Path

from cpmn.config.train import TrainConfig
from cpmn.job.logs import job_log
from cpmn.job.status import excluded_patients, failed_registrations, require_patients
from cpmn.track import LiveFold, track_of
from cpmn.train.launch import launch_fold

with job_log(snakemake.log[0]):
    fold = int(snakemake.wildcards.fold)
    folder = Path(snakemake.output.model).parent
    names = [*snakemake.params.patients["train"], *snakemake.params.patients["validation"]]
    results = folder.parents[2]
    excluded = excluded_patients(names, results)
    require_patients(len(names), excluded, snakemake.params.min_patients)
    excluded |= failed_registrations({Path(path).parent.name: path for path in snakemake.input.qualities})
    with LiveFold(track_of(snakemake.config), folder) as live:
        launch_fold(
            variant=snakemake.wildcards.variant,
            fold=fold,
            splits={"folds": {fold: snakemake.params.patients}},
            crops=results / "crop",
            excluded=excluded,
            folder=folder,
            config=TrainConfig.model_validate(snakemake.params.settings),
            threads=snakemake.threads,
            labels=snakemake.params.labels,
            paired=set(snakemake.params.paired),
            masked=set(snakemake.params.masked),
            annotated=set(snakemake.params.annotated),
            on_epoch=live.add,
        )
