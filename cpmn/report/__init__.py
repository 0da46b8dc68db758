"""`report`: one self-contained page, a model card and a record of the run."""
