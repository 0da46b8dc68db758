"""DICOM in: from a folder or archive of files to one volume in HU.

`series` chooses a series by `RULES`; `headers`, `geometry`, `pixels`, `regrid` and `contrast` say what it may rely on.
"""
