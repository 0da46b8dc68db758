"""`crop`: native NCT voxels inside the box of the lungs, a function of the NCT alone."""
