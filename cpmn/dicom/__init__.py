"""DICOM in: from a folder or archive of files to one volume in HU.

`choice` chooses a series by `RULES`; `series` says which are usable; `headers`, `geometry`, `pixels`, `regrid` and
`contrast` say what both may rely on.
"""

import logging
import warnings

# pydicom quotes values that are not quite the standard's, UIDs and dates of birth among them, once a slice: not the
# user's affair, and nothing for a log. What matters is an error of this package's own.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\b")
