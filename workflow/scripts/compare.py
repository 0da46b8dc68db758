"""Compare the variants: `results/evaluate/comparison.csv`."""

from pathlib import Path

from cpmn.config.evaluate import EvaluateConfig
from cpmn.evaluate.compare import compare_variants
from cpmn.logs import job_log

with job_log(snakemake.log[0]):
    compare_variants(
        variants=snakemake.params.variants,
        cohort=snakemake.params.cohort,
        evaluate=Path("results/evaluate"),
        output=Path(snakemake.output[0]),
        config=EvaluateConfig.model_validate(snakemake.params.settings),
    )
