"""Whether a NIfTI file is whole and holds numbers, which ITK does not look at.

Its reader fills with zeros whatever a cut or damaged file lacks and puts zeros in the place of NaN and infinity, and
zeros are water in a scan and "no clot" in a mask; its writer says nothing of a full disk. The readers and writers of
the other formats raise by themselves, or hand over what the file holds.

nibabel reads headers too, but every job would load it, in 0.3 s: more than a scan is checked and read in.
"""

import math
import struct
from io import SEEK_END, BufferedIOBase
from pathlib import Path

import numpy as np
from isal.igzip import IGzipFile
from isal.igzip_lib import IsalError

from cpmn.errors import MachineError, blame_machine

# By the header's own size, its first number: place and type of dim[8], datatype, bitpix and vox_offset (nifti1.h,
# nifti2.h).
LAYOUTS = {348: ((40, "8h"), (70, "2h"), (108, "f")), 540: ((16, "8q"), (12, "2h"), (168, "q"))}
FLOATS = {16: "f4", 64: "f8"}  # DT_FLOAT32, DT_FLOAT64
READ_BYTES = 1 << 20
LARGEST_BYTES = 1 << 34  # our choice, 17 GB: beyond any volume, float64 included


def check_values(path: Path) -> None:
    """Raise OSError if `path` is a NIfTI file that is cut short or damaged, ValueError if it holds NaN or infinity.

    Floats and what is compressed are read to their end, which takes about half as long as ITK takes to load it.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    try:
        with IGzipFile(path) if zipped else path.open("rb") as stream:
            _check_stream(stream, zipped)
    except (EOFError, IsalError) as error:  # pyright: ignore[reportGeneralTypeIssues]
        raise OSError(f"the compressed data are damaged: {error}") from error


def require_whole(path: Path) -> None:
    """Raise MachineError if a NIfTI file that was just written is cut short: ITK says nothing of a full disk."""
    try:
        check_values(path)
    except OSError as error:
        blame_machine(error)
        raise MachineError(f"{path} was not written whole ({error}); is the disk full?") from error


def _check_stream(stream: BufferedIOBase, zipped: bool) -> None:
    offset, needed, number = _declared(stream.read(max(LAYOUTS)))
    if needed > LARGEST_BYTES:
        raise OSError(f"its header asks for {needed} bytes, {LARGEST_BYTES} at most")
    whole = zipped or number is not None  # of plain integers the size says all
    found = stream.seek(offset) if whole else stream.seek(0, SEEK_END)
    while block := stream.read(READ_BYTES):
        found += len(block)
        if number and not np.isfinite(np.frombuffer(block, number, len(block) // number.itemsize)).all():
            raise ValueError("values are not numbers (NaN or infinite)")
    if found < needed:
        raise OSError(f"the file holds {found} bytes of {needed}")


def _declared(header: bytes) -> tuple[int, int, np.dtype | None]:
    """By the header: where the values begin, the (uncompressed) file's size, and the type of values that are floats.

    (0, 0, None) if it is none of NIfTI's, which ITK will say.
    """
    for order in "<>":
        size = struct.unpack_from(f"{order}i", header)[0] if len(header) >= min(LAYOUTS) else None
        if size in LAYOUTS and len(header) >= size:
            dim, (kind, bits), (start,) = (struct.unpack_from(order + form, header, at) for at, form in LAYOUTS[size])
            offset = int(start) if math.isfinite(start) and start > 0 else 0
            number = np.dtype(order + FLOATS[kind]) if kind in FLOATS else None
            return offset, offset + math.prod(dim[1 : 1 + dim[0]]) * bits // 8, number
    return 0, 0, None
