"""Stage `evaluate`: predictions, decision, figures and comparison of the variants."""
