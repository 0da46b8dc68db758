"""`convert`: a folder of DICOM files or one image file becomes one int16 NIfTI in HU, and a JSON of its provenance."""
