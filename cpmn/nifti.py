"""Whether a NIfTI file is whole, which ITK does not look at.

Its reader fills with zeros whatever a cut or damaged file lacks, and zeros are water in a scan and "no clot" in a mask;
its writer says nothing of a full disk. The readers and writers of the other formats raise by themselves.
"""

import math
import struct
from pathlib import Path

from isal.igzip import IGzipFile
from isal.igzip_lib import IsalError

# By the header's own size, its first number: place and type of dim[8], bitpix and vox_offset (nifti1.h, nifti2.h).
LAYOUTS = {348: ((40, "8h"), (72, "h"), (108, "f")), 540: ((16, "8q"), (14, "h"), (168, "q"))}
READ_BYTES = 1 << 20


def check_complete(path: Path) -> None:
    """Raise OSError if `path` is a NIfTI file that is cut short or whose compression is damaged.

    A compressed file is read to its end, which takes about half as long as ITK takes to load it.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        header = b"" if zipped else stream.read(max(LAYOUTS))
    found = path.stat().st_size
    if zipped:
        try:
            with IGzipFile(path) as stream:
                header = stream.read(max(LAYOUTS))
                found = len(header) + sum(map(len, iter(lambda: stream.read(READ_BYTES), b"")))
        except (EOFError, IsalError) as error:  # pyright: ignore[reportGeneralTypeIssues]
            raise OSError(f"the compressed data are damaged: {error}") from error
    if found < (needed := _declared_bytes(header)):
        raise OSError(f"the file holds {found} bytes of {needed}")


def _declared_bytes(header: bytes) -> int:
    """Size of the (uncompressed) file by its header; 0 if that is none of NIfTI's, which ITK will say."""
    for order in "<>":
        size = struct.unpack_from(f"{order}i", header)[0] if len(header) >= min(LAYOUTS) else None
        if size in LAYOUTS and len(header) >= size:
            dim, (bits,), (offset,) = (struct.unpack_from(order + form, header, at) for at, form in LAYOUTS[size])
            return int(offset if math.isfinite(offset) else 0) + math.prod(dim[1 : 1 + dim[0]]) * bits // 8
    return 0
