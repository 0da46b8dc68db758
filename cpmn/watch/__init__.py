"""`cpmn watch`: scans that arrive from an archive are read without a person, and results go back to it."""
