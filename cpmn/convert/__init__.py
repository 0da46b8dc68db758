"""Stage `convert`: a folder of DICOM files or one image file becomes int16 NIfTI in HU, with a JSON of its provenance.

Reading and the choice of a series are `cpmn.dicom`'s, shared with `predict` and `importing`.
"""
