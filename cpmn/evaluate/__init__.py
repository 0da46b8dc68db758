"""Stage `evaluate`: predictions, decision, figures and comparison of the variants.

How a patient is decided, and where the threshold comes from: `cpmn.scoring.decision`. `tables` has the columns of
`patients.csv`.
"""
