"""UIDs that follow from a text: the same text gives the same UID."""

import hashlib

from pydicom.uid import UID

UID_ROOT = "2.25."  # UIDs made from hashes need no registered root (DICOM PS3.5 B.2)


def uid_of(text: str) -> UID:
    """UUID-derived UID of 128 bits of a text's hash."""
    return UID(UID_ROOT + str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")))
