"""Stage `train`: one training per variant and fold. `objective` adds up the loss terms of `cpmn.model.losses`."""
