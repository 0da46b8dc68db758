"""Compare the variants: `results/evaluate/comparison.csv` and `summary.json`."""

from pathlib import Path

from cpmn.config.evaluate import EvaluateConfig
from cpmn.evaluate.compare import compare_variants, summarise_variants
from cpmn.job.logs import job_log

with job_log(snakemake.log[0], snakemake.params.get("code")):
    comparison = Path(snakemake.output.comparison)
    compare_variants(
        variants=snakemake.params.variants,
        cohort=snakemake.params.cohort,
        evaluate=comparison.parent,
        output=comparison,
        config=EvaluateConfig.model_validate(snakemake.params.settings),
    )
    summarise_variants(snakemake.params.variants, comparison.parent, Path(snakemake.output.summary))
