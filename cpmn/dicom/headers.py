"""Reading DICOM headers: which files of a folder are DICOM, and what each of them is."""

import hashlib
import logging
import math
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_command_set_elements, _read_file_meta_info, read_preamble
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from tqdm import tqdm

from cpmn.dicom.archive import files_below
from cpmn.dicom.problem import SeriesProblem
from cpmn.errors import blame_machine

logger = logging.getLogger(__name__)

TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "InstanceNumber",
    "AcquisitionNumber",
    *("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime"),
    *("ContentDate", "ContentTime", "StudyDate", "StudyTime"),
    "Modality",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "KVP",
    "SliceThickness",
    "PatientPosition",
    "ContrastBolusAgent",
    "ContrastBolusRoute",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "LossyImageCompression",
]
"""The only tags that the header pass keeps; none of them names the patient, and dates serve comparison alone.

PatientID is read too, and kept as a hash in `Header.patient` alone, to tell patients in one folder apart.
"""
GROUPS = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ContrastBolusAgentSequence"]
"""Sequences of multi-frame files that hold such tags, frame by frame."""

Encoding = tuple[bool | None, bool | None]  # pydicom's: are value representations implicit, bytes little-endian
UNCOMPRESSED: dict[Encoding, UID] = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
LARGEST_INFLATED, CHUNK = 1 << 30, 1 << 20  # ours: 512 x 512 x 2000 voxels of two bytes
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"  # DICOMDIR
SECONDARY_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
PROJECTIONS = {"MIP", "MINIP", "PROJECTION IMAGE", "VRT", "VOLUME RENDERING"}


@dataclass(frozen=True)
class Header:
    """One DICOM slice: its file, the tags of `TAGS`, and for a multi-frame file which frame it is, from 0.

    `patient` is a hash of PatientID, empty where there is none. It is never written.
    """

    path: Path
    tags: pydicom.Dataset | dict[str, Any]
    frame: int | None = None
    patient: str = ""

    def text(self, keyword: str) -> str:
        """Value of a tag as text; empty if absent; the first where it has several."""
        value = self.tags.get(keyword)
        if isinstance(value, Iterable) and not isinstance(value, str):
            value = next(iter(value), None)
        return "" if value is None else str(value).strip()

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Value of a tag as `count` finite numbers, or None if it is absent, has another length or holds others."""
        value = self.tags.get(keyword)
        values = () if value is None else value if isinstance(value, Iterable) else (value,)
        try:
            numbers = tuple(map(float, values))
        except (TypeError, ValueError):  # an empty component, or text
            return None
        return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None

    def number(self, keyword: str) -> float | None:
        """Value of a tag as one finite number, or None."""
        return (self.numbers(keyword, 1) or (None,))[0]

    @property
    def image_type(self) -> set[str]:
        """Values of ImageType in capitals."""
        value = self.tags.get("ImageType") or ()
        return {str(item).strip().upper() for item in ([value] if isinstance(value, str) else value)}


@dataclass
class FileSet:
    """What a folder holds, as DICOM names it (PS3.10): headers, how many files were passed over, by reason, and which
    of these look like slices that were lost: empty, or named as the DICOM files are."""

    headers: list[Header] = field(default_factory=list)
    ignored: Counter = field(default_factory=Counter)
    unreadable: list[Path] = field(default_factory=list)


def read_file_set(source: Path, files: list[Path] | None = None) -> FileSet:
    """Read the header of every file below `source` (or of `source` itself), whatever its name.

    `files` replaces those below `source`, where it holds archives. Raises SeriesProblem if there is no file, if none
    is DICOM, or if a DICOM file is damaged: a slice is never dropped in silence.
    """
    if files is None:
        files = files_below(source)
    if not files:
        raise SeriesProblem(
            "the folder or archive is empty", "Put the scan's DICOM files there or correct the path.", source
        )
    file_set = FileSet()
    for path in tqdm(files, desc="headers", unit="file", disable=None, leave=False):
        _add_file(file_set, path)
    suffixes = {header.path.suffix for header in file_set.headers} - {""}
    shapes = {_shape(header.path) for header in file_set.headers}
    file_set.unreadable = [one for one in file_set.unreadable if _looks_like_a_slice(one, suffixes, shapes)]
    if not file_set.headers:
        raise SeriesProblem(
            f"none of the {len(files)} files is a readable DICOM image",
            "Give a folder or a .zip of DICOM files, or one NIfTI, NRRD or MetaImage file.",
            source,
        )
    return file_set


def reason_not_a_slice(header: Header) -> str | None:
    """Why this DICOM file cannot be a slice of a CT volume, or None if it can."""
    modality, sop_class = header.text("Modality"), header.text("SOPClassUID")
    if modality != "CT":
        return f"modality is {modality or 'not stated'}, not CT"
    if header.frame is None and (header.number("NumberOfFrames") or 1) > 1:
        return "multi-frame image that does not say where each frame lies"
    if sop_class.startswith(SECONDARY_CAPTURE_CLASS):
        return "secondary capture, a picture of a screen"
    if "LOCALIZER" in header.image_type:
        return "localizer"
    if header.image_type & PROJECTIONS:
        return "projection through slices (MIP or rendering)"
    if (header.number("SamplesPerPixel") or 1) != 1:
        return "colour image"
    return None


def split_frames(header: Header) -> list[Header]:
    """One header per frame of an enhanced CT (also a legacy-converted one); others stay as they are.

    Its tags lie one or two levels down in the functional groups, of all frames or of each (DICOM PS3.3 C.7.6.16).
    """
    shared, frames, agents = (header.tags.get(name) or [] for name in GROUPS)
    if not frames or len(frames) != (header.number("NumberOfFrames") or 1):
        return [header]
    common = {keyword: header.tags.get(keyword) for keyword in TAGS if keyword in header.tags}
    for item in shared:
        common |= _flat(item)
    if agents:
        common["ContrastBolusAgent"] = str(agents[0].get("CodeMeaning", ""))
    return [Header(header.path, common | _flat(item), index, header.patient) for index, item in enumerate(frames)]


# No other tag of a macro is parsed: it may be damaged.
MACRO_TAGS = {tag_for_keyword(keyword): keyword for keyword in TAGS} | {tag_for_keyword("FrameType"): "ImageType"}


def _flat(group: pydicom.Dataset) -> dict[str, Any]:
    """Tags of `TAGS` in the macros of a functional group; a frame's FrameType is its ImageType."""
    items = [item for macro in group for item in (macro.value if macro.VR == "SQ" else [])]
    return {MACRO_TAGS[tag]: item[tag].value for item in items for tag in item.keys() if tag in MACRO_TAGS}  # noqa: SIM118


def read_dicom(path: Path, **options) -> pydicom.Dataset:
    """`pydicom.dcmread` that also takes files without the 128-byte preamble or without file meta information, as some
    archives export them; the transfer syntax is then the encoding that was found.

    Raises InvalidDicomError for a file that is not DICOM, SeriesProblem for deflated data without end;
    anything else means damage.
    """
    _require_room_for(path)
    try:
        dataset = pydicom.dcmread(path, **options)
    except InvalidDicomError:
        dataset = _read_without_preamble(path, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = UNCOMPRESSED.get(dataset.original_encoding, ImplicitVRLittleEndian)
    return dataset


def _require_room_for(path: Path) -> None:
    """Raise SeriesProblem for deflated DICOM of more than `LARGEST_INFLATED`, which pydicom inflates as a whole before
    anything can be asked of it: a few kB would fill the memory."""
    with path.open("rb") as stream:
        if not _is_deflated(stream):
            return
        inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while chunk := inflater.unconsumed_tail or stream.read(CHUNK):
            size += len(inflater.decompress(chunk, CHUNK))
            if size > LARGEST_INFLATED:
                raise SeriesProblem("a deflated DICOM file is too large", "Export the scan in another way.", path)


def _is_deflated(stream: BinaryIO) -> bool:
    """Whether a file's header says that its data are deflated; `stream` is then where they begin.

    Found by pydicom's own steps: an own reading of the header would differ from it where somebody forged one.
    """
    read_preamble(stream, force=True)
    meta = _read_file_meta_info(stream)
    _read_command_set_elements(stream)
    return meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian


def _read_without_preamble(path: Path, **options) -> pydicom.Dataset:
    with path.open("rb") as stream:  # a data set starts with group 0002 or 0008, in either byte order
        if stream.read(2) not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
            raise InvalidDicomError(f"{path} is not DICOM")
    try:
        dataset = pydicom.dcmread(path, force=True, **options)
    except Exception as error:
        blame_machine(error)
        raise InvalidDicomError(f"{path} is not DICOM") from error
    if "Modality" not in dataset or "SOPInstanceUID" not in dataset:
        raise InvalidDicomError(f"{path} is not DICOM")
    return dataset


def _looks_like_a_slice(path: Path, suffixes: set[str], shapes: set[str]) -> bool:
    """Whether a file that is no DICOM may be a lost slice. Hidden ones are the work of programs (Snakemake, macOS)."""
    named_alike = path.suffix in suffixes or _shape(path) in shapes
    return not path.name.startswith(".") and (not path.stat().st_size or named_alike)


def _shape(path: Path) -> str:
    """Name of a file without its numbers: that of all slices in `IM0013` and `CT.1.2.840.14`, which have no suffix."""
    return re.sub(r"\d+", "#", path.name)


def _add_file(file_set: FileSet, path: Path) -> None:
    try:
        header = _read_header(path)
        frames = split_frames(header) if header.text("Modality") else []
    except SeriesProblem:
        raise
    except InvalidDicomError:
        file_set.ignored["not DICOM"] += 1
        file_set.unreadable.append(path)
    except Exception as error:  # whatever a damaged file makes the parser raise
        blame_machine(error)
        logger.debug("damaged DICOM file %s", path, exc_info=True)
        raise SeriesProblem(
            f"a DICOM file is damaged ({type(error).__name__}: {str(error)[:120]})",
            "Export it again, or remove it if it does not belong to the scan.",
            path,
        ) from error
    else:
        file_set.headers += frames
        if not frames:
            file_set.ignored["DICOMDIR"] += 1


def _read_header(path: Path) -> Header:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values slightly off the standard are not the user's affair
        dataset = read_dicom(path, stop_before_pixels=True, specific_tags=[*TAGS, *GROUPS, "PatientID"])
        named = str(dataset.pop("PatientID").value or "").strip() if "PatientID" in dataset else ""
        header = Header(path, dataset, patient=hashlib.sha256(named.encode()).hexdigest() if named else "")
        _ = [header.text(keyword) for keyword in TAGS]  # values are parsed when first read: damage shows here
        directory = dataset.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY_CLASS
    if not header.text("Modality") and not directory:
        raise ValueError("it ends before the tag Modality")
    return header
