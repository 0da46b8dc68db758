"""How good a reading is: metrics, overlap, lesions, agreement with the reference, decision, comparison.

`decision` fits the patient's score and threshold; `agreement` makes the figures of `metrics.json`.
"""
