"""Stage `train`: splits of the cohort, and one training per variant and fold."""
