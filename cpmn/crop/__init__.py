"""Stage `crop`: native NCT voxels inside the box of the lungs, a function of the NCT alone.

The box and its margin are `cpmn.anatomy.lungbox`'s, shared with `predict`.
"""
