"""Decoding the slices of a series into one volume of Hounsfield units."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.pixels.utils import iter_pixels
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID
from tqdm import tqdm

from cpmn.dicom.geometry import Geometry
from cpmn.dicom.headers import Header, read_dicom
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.regrid import grid_voxels, on_grid
from cpmn.dicom.stored import padding, stored_values
from cpmn.errors import blame_machine
from cpmn.volume.images import AIR_HU, LARGEST_VOXELS

PIXEL_DATA = Tag("PixelData")
AFTER_PIXELS = (0xFFFA, 0xFFFC)  # digital signatures and trailing padding (PS3.6): nothing else follows the pixels
HU_LIMIT = 32767  # highest value of int16; metal can exceed the usual 12 bits


@dataclass
class Volume:
    """HU volume (z, y, x), int16, and how many voxels were changed to fit."""

    hu: np.ndarray
    padding_voxels: int = 0
    stated_padding_voxels: int = 0
    saturated_voxels: int = 0
    transfer_syntax: str = ""


def read_volume(slices: list[Header], geometry: Geometry) -> Volume:
    """Read slices, ordered along the normal, into HU on the grid of `geometry`, resampled where that says so.

    HU = RescaleSlope * stored + RescaleIntercept, slice by slice (slopes differ within PET/CT-style exports),
    rounded to integers. Values below -1024, and what the header calls padding, become -1024 and are counted.

    Raises SeriesProblem naming the file and, for compressed data that cannot be decoded, the transfer syntax.
    """
    rows, columns = int(slices[0].text("Rows")), int(slices[0].text("Columns"))
    if grid_voxels((len(slices), rows, columns), geometry) > LARGEST_VOXELS:
        raise SeriesProblem(
            f"{len(slices)} slices of {columns} x {rows} pixels need more than {LARGEST_VOXELS} voxels",
            "Give one series of a chest.",
            slices[0].path,
        )
    volume = Volume(np.empty((len(slices), rows, columns), np.int16))
    progress = tqdm(_stored_slices(slices), total=len(slices), desc="slices", unit="slice", disable=None, leave=False)
    for index, raw, dataset in progress:
        slope, intercept = (_number(slices[index], tag) for tag in ("RescaleSlope", "RescaleIntercept"))
        stored = stored_values(raw, dataset)
        hu = _rescale(stored, slope, intercept)
        outside = padding(raw, stored, dataset, slope, intercept)
        hu[outside] = AIR_HU
        volume.stated_padding_voxels += int(np.count_nonzero(outside))
        volume.padding_voxels += int(np.count_nonzero(hu < AIR_HU))
        volume.saturated_voxels += int(np.count_nonzero(hu > HU_LIMIT))
        volume.hu[index] = np.clip(hu, AIR_HU, HU_LIMIT)
        volume.transfer_syntax = _syntax(dataset)
    volume.hu = on_grid(volume.hu, geometry)
    return volume


def _stored_slices(slices: list[Header]) -> Iterator[tuple[int, np.ndarray, pydicom.Dataset]]:
    """Place in `slices`, pixels as they are stored and dataset of each; a file of many frames is read once."""
    files: dict[Path, list[int]] = defaultdict(list)
    for index, header in enumerate(slices):
        files[header.path].append(index)
    for path, places in files.items():
        dataset = read_dicom(path)
        for index, stored in zip(places, _decode(dataset, [slices[i] for i in places]), strict=True):
            yield index, stored, dataset


def _decode(dataset: pydicom.Dataset, slices: list[Header]) -> Iterator[np.ndarray]:
    """Pixels of the slices of one file, unused bits as stored. Raises SeriesProblem if they cannot be had."""
    shape = tuple(int(slices[0].text(tag)) for tag in ("Rows", "Columns"))
    frames = [header.frame for header in slices if header.frame is not None]
    if stray := _stray(dataset):
        raise SeriesProblem(
            f"the pixel data are damaged: {len(stray)} elements follow them, first {stray[0]}",
            "Export the series again.",
            slices[0].path,
        )
    try:
        if not is_transfer_syntax(dataset):
            raise _undecodable(dataset, slices[0], ValueError())
        decoded = iter_pixels(dataset, raw=True, indices=frames or None, correct_unused_bits=False)
        for stored in decoded:
            if stored.shape != shape:
                raise SeriesProblem(
                    f"a slice holds pixels of shape {stored.shape}, its header says {shape}",
                    "Export the series again.",
                    slices[0].path,
                )
            yield stored
    except SeriesProblem:
        raise
    except Exception as error:  # decoders raise anything from AttributeError to RuntimeError
        blame_machine(error)
        raise _undecodable(dataset, slices[0], error) from error


def _undecodable(dataset: pydicom.Dataset, header: Header, error: Exception) -> SeriesProblem:
    reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    if not is_transfer_syntax(dataset):
        return SeriesProblem(
            f"the pixel data cannot be decoded: '{dataset.file_meta.TransferSyntaxUID}' is no transfer syntax",
            "Export the series again.",
            header.path,
        )
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        return SeriesProblem(
            f"the pixel data cannot be decoded: transfer syntax '{_syntax(dataset)}' "
            f"({dataset.file_meta.TransferSyntaxUID}) is not supported or the file is damaged ({reason})",
            "Export the series uncompressed (Explicit VR Little Endian), e.g. with 'gdcmconv --raw'.",
            header.path,
        )
    return SeriesProblem(f"the pixel data is damaged or truncated ({reason})", "Export the series again.", header.path)


def _stray(dataset: pydicom.Dataset) -> list[BaseTag]:
    """Tags of elements that follow the pixels in the file and may not: of pixels that were shifted, mostly.

    Elements ascend (PS3.5, 7.1), and above the pixels there are private groups and those of `AFTER_PIXELS` alone.
    """
    if PIXEL_DATA not in dataset:
        return []
    places = {tag: _place(dataset, tag) for tag in dataset.keys()}  # noqa: SIM118  (else elements)
    after = [tag for tag in places if places[tag] > places[PIXEL_DATA]]
    return [tag for tag in after if tag < PIXEL_DATA or not (tag.is_private or tag.group in AFTER_PIXELS)]


def _place(dataset: pydicom.Dataset, tag: BaseTag) -> int:
    """Where in its file an element's value stands; the last one, where there are two of them."""
    element = dataset.get_item(tag)
    return (element.value_tell if isinstance(element, RawDataElement) else getattr(element, "file_tell", None)) or 0


def is_transfer_syntax(dataset: pydicom.Dataset) -> bool:
    """Whether the transfer syntax is one that DICOM or a maker has defined; what is asked of others raises."""
    return UID(dataset.file_meta.TransferSyntaxUID).is_transfer_syntax


def _number(header: Header, keyword: str) -> float:
    return float(header.text(keyword))


def _rescale(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if slope.is_integer() and intercept.is_integer():  # nearly always: exact, and faster than floating point
        return stored.astype(np.int32 if stored.dtype.itemsize <= 2 else np.int64) * int(slope) + int(intercept)
    return np.rint(stored * slope + intercept)


def _syntax(dataset: pydicom.Dataset) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return syntax.name if syntax else "none stated"
