"""DICOM in: archives, headers, geometry, pixels, the choice of a series."""
