"""Stage `predict`: a new patient's non-contrast CT, read as `evaluate` reads a test patient."""
