"""What the bits of stored pixels mean: which of them are the value, whether it has a sign, and which values are none.

Bits outside BitsStored may hold anything (DICOM PS3.5, 8.1.1), and did hold overlays; padding values lie outside the
scanner's circle and are no measurement (PS3.3, C.7.5.1.1.2). Where the header contradicts itself the pixels decide, and
where these fit both readings the slice is refused.
"""

from collections.abc import Iterator

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, RLELossless
from scipy import ndimage

from cpmn.dicom.problem import SeriesProblem

BRIGHTEST_HU = 3071  # of 12-bit CT; padding above is no metal wherever it lies
AIR_BELOW_HU = -900  # padding below looks like air already
NO_CT_NUMBER = 16384  # no tissue and no metal has such a value, even on an extended scale
OVERLAYS = range(0x6000, 0x6020, 2)  # groups of overlays (PS3.3, C.9.2)
EXPORT = "Export the series again, uncompressed (Explicit VR Little Endian)."


def stored_values(raw: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Values (rows, columns) from pixels as they were decoded, with unused bits as found.

    By BitsStored, HighBit and PixelRepresentation. Where HighBit is not BitsStored - 1 one of them is wrong: values
    may fill the upper bits (their lowest bits are zero then) or the lower (nothing lies above). Raises SeriesProblem if
    the pixels fit neither, or are no whole numbers.
    """
    if raw.dtype.kind not in "iu":  # FloatPixelData, which parametric maps have
        raise SeriesProblem("the pixels are no whole numbers", EXPORT)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes):  # pydicom extends the sign of those
        return _signed_by_codestream(raw, dataset) if syntax in JPEG2000TransferSyntaxes else raw
    stored, bits = int(dataset.BitsStored), 8 * raw.dtype.itemsize
    stated = _number(dataset, "HighBit")
    high = stored - 1 if stated is None else stated
    if not 1 <= stored <= bits or not 0 <= high < bits:
        raise SeriesProblem(f"BitsStored is {stored} and HighBit is {high}, of {bits} bits", EXPORT)
    if not (syntax.is_compressed and syntax != RLELossless):  # decoders of the others right-align what they give
        if high >= stored and not _any(raw, 0, high + 1 - stored):
            return _taken(raw, high + 1 - stored, stored)
        if high != stored - 1 and _any_above(raw, min(high + 1, stored)):
            if high >= stored or not _embeds_overlay(dataset, high):
                raise SeriesProblem(
                    f"BitsStored is {stored} and HighBit is {high}, and the pixels use bits of both readings", EXPORT
                )
            stored = high + 1
    return _taken(raw, 0, stored)


def padding(
    raw: np.ndarray, values: np.ndarray, dataset: pydicom.Dataset, slope: float, intercept: float
) -> np.ndarray:
    """Which pixels are padding by PixelPaddingValue and PixelPaddingRangeLimit, and would not be air in HU.

    Both tags are compared as bit patterns too, as many writers state a signed value as unsigned, and as stored
    before unused bits are cut off: padding may lie outside BitsStored. Padding that would be tissue (0 in a scan whose
    water is 0) counts only where it is joined to a corner of the slice: elsewhere it is water.
    """
    limits = [_number(dataset, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    wrapped = [np.int64(value).astype(raw.dtype) for value in limits if value is not None]
    if limits[0] is None or not wrapped:
        return np.zeros(raw.shape, bool)
    low, high = min(wrapped), max(wrapped)
    found = (raw >= low) & (raw <= high) | (values >= low) & (values <= high)
    hu = values[found] * slope + intercept
    if not found.any() or hu.max() < AIR_BELOW_HU:
        return np.zeros(raw.shape, bool)
    if hu.min() > BRIGHTEST_HU or (raw != values)[found].all():
        return found
    corners = np.zeros(found.shape, bool)
    corners[:: found.shape[0] - 1, :: found.shape[1] - 1] = True
    return ndimage.binary_propagation(corners & found, mask=found)


def _signed_by_codestream(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Values with the sign that their JPEG 2000 codestream gives them where the header gives none.

    pydicom, GDCM and dcm2niix take the header's word, and air at -1000 HU becomes 64536. Raises SeriesProblem if both
    readings are possible.
    """
    if dataset.PixelRepresentation != 0:
        return values
    codestream = get_j2k_parameters(
        next(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)))
    )
    if not codestream.get("is_signed"):
        return values
    half = 1 << (int(codestream["precision"]) - 1)
    negative = values >= half
    if not negative.any():
        return values
    if half < NO_CT_NUMBER:
        raise SeriesProblem(
            f"the compressed pixels are signed and PixelRepresentation says that they are not: {negative.sum()} pixels "
            f"of a slice are {half} or more, or negative",
            EXPORT,
        )
    return np.where(negative, values.astype(np.int32) - 2 * half, values)


def _taken(raw: np.ndarray, first: int, count: int) -> np.ndarray:
    """The number in bits `first` to `first + count - 1`, its sign extended where the pixels' type has one."""
    bits = 8 * raw.dtype.itemsize
    return (raw << (bits - first - count)) >> (bits - count)


def _any(raw: np.ndarray, first: int, count: int) -> bool:
    return bool((raw & (((1 << count) - 1) << first)).any())


def _any_above(raw: np.ndarray, count: int) -> bool:
    """Whether bits above the lowest `count` hold anything but zeros or copies of the sign."""
    return bool((raw != _taken(raw, 0, count)).any() and (raw >> count).any())


def _embeds_overlay(dataset: pydicom.Dataset, high: int) -> bool:
    """Whether the header puts an overlay into bits of the pixels above `high` (retired in 2004, and still in archives).

    A group with OverlayData of its own (60xx,3000) uses no such bit.
    """
    return any(position > high for position in _overlay_bits(dataset))


def _overlay_bits(dataset: pydicom.Dataset) -> Iterator[int]:
    for group in OVERLAYS:
        if (group, 0x0102) in dataset and (group, 0x3000) not in dataset:
            yield _number(dataset, (group, 0x0102)) or 0


def _number(dataset: pydicom.Dataset, tag: str | tuple[int, int]) -> int | None:
    """A tag's whole number, or None if it is absent or none."""
    try:
        return int(dataset[tag].value)
    except (KeyError, TypeError, ValueError):
        return None
