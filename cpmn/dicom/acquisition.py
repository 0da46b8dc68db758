"""Which slices of a series were acquired together: even spacing alone does not say so.

Archives and exports put several acquisitions under one SeriesInstanceUID: breath-holds half a gap apart, an upper half
taken again at another tube voltage, passes that overlap. What differs in a tag that one acquisition cannot change is
told apart by it; what overlaps in space, by acquisition number, by a pause in time, or by where the numbering of the
slices turns back. Whatever is left is one acquisition, as far as tags can tell; the image is asked later (`checks`).
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cpmn.dicom.headers import Header
from cpmn.dicom.identity import acquired_at

DIRECTION_DECIMALS = 1  # ours: the slices of one acquisition agree far better, those of another plane differ by more
SAME_PLACE = 0.25  # ours, of the median gap: slices nearer than this to each other share a place
FEWEST = 5  # ours, slices of a pass: fewer are strays
PAUSE_SHARE = 0.5  # ours: a pause is longer than half of the whole time, and not one of many

CONSTANT: dict[str, Callable[[Header], Hashable]] = {
    "tube voltage": lambda header: header.number("KVP"),
    "kernel": lambda header: header.text("ConvolutionKernel"),
    "frame of reference": lambda header: header.text("FrameOfReferenceUID"),
    "contrast agent": lambda header: header.text("ContrastBolusAgent"),
    "direction": lambda header: _direction(header),
}
"""What one acquisition cannot change, by its name in messages."""


@dataclass(frozen=True)
class Part:
    """Slices that belong together, and what tells them from the others of their series (empty where nothing had to)."""

    headers: list[Header]
    told_by: str = ""


def acquisitions(headers: Sequence[Header]) -> list[Part]:
    """The acquisitions of a series' slices, the largest first; one part where nothing tells any apart."""
    parts = []
    for group in _grouped(headers, lambda header: tuple(fact(header) for fact in CONSTANT.values())):
        told = "" if len(group) == len(headers) else " and ".join(_differing(headers))
        parts += [Part(one, told or by) for one, by in _apart(group)]
    return sorted(parts, key=lambda part: -len(part.headers))


def differing(first: Header, second: Header) -> list[str]:
    """Names of the facts of `CONSTANT` in which two slices differ."""
    return _differing([first, second])


def _differing(headers: Iterable[Header]) -> list[str]:
    headers = list(headers)
    return [name for name, fact in CONSTANT.items() if len({fact(header) for header in headers}) > 1]


def _apart(headers: list[Header]) -> list[tuple[list[Header], str]]:
    """Passes over the same stretch, told apart; the slices as they are where nothing tells of several.

    Parts that merely follow each other stay together: a table that moves step by step numbers each of its steps.
    """
    if len(headers) < 2 * FEWEST or _heights(headers) is None:
        return [(headers, "")]
    for by, split in (("acquisition number", _by_number), ("time", _by_pause), ("slice number", _by_numbering)):
        parts = split(headers)
        heights = [found for part in parts if (found := _heights(part)) is not None]
        if len(parts) > 1 and all(map(_is_pass, heights)) and _overlap(heights):
            return [(part, by) for part in parts]
    return [(headers, "")]


def _is_pass(heights: np.ndarray) -> bool:
    """Whether these places may be those of one pass: enough of them, and no two at one place."""
    if len(heights) < FEWEST:
        return False
    gaps = np.diff(np.sort(heights))
    return bool(gaps.min() >= SAME_PLACE * np.median(gaps))


def _overlap(heights: Sequence[np.ndarray]) -> bool:
    """Whether some two passes share a stretch longer than a gap."""
    ends = sorted((float(part.min()), float(part.max())) for part in heights)
    gap = max(float(np.median(np.diff(np.sort(part)))) for part in heights)
    return any(first[1] - second[0] > gap for first, second in pairwise(ends))


def _by_number(headers: list[Header]) -> list[list[Header]]:
    return _grouped(headers, lambda header: header.text("AcquisitionNumber"))


def _by_pause(headers: list[Header]) -> list[list[Header]]:
    """Two parts, before and after the one long pause; the slices as they are without any."""
    timed = [(at, header) for header in headers if (at := acquired_at(header)) is not None]
    if len(timed) < len(headers):
        return [headers]
    timed.sort(key=lambda pair: pair[0])
    waits = [(later - earlier).total_seconds() for (earlier, _), (later, _) in pairwise(timed)]
    whole, longest = sum(waits), int(np.argmax(waits))
    if not whole or waits[longest] <= PAUSE_SHARE * whole:
        return [headers]
    ordered = [header for _, header in timed]
    return [ordered[: longest + 1], ordered[longest + 1 :]]


def _by_numbering(headers: list[Header]) -> list[list[Header]]:
    """Stretches in which places follow the slice numbers one way; a jump back begins the next pass."""
    numbers = [header.number("InstanceNumber") for header in headers]
    if None in numbers or len(set(numbers)) < len(numbers):
        return [headers]
    ordered = [header for _, header in sorted(zip(numbers, headers, strict=True), key=lambda pair: pair[0] or 0)]
    heights = _heights(ordered)
    assert heights is not None
    steps = np.diff(heights)
    turns = np.flatnonzero(np.sign(steps) != np.sign(np.median(steps))) + 1
    return [list(part) for part in np.split(np.array(ordered, object), turns)]


def _grouped(headers: Iterable[Header], fact: Callable[[Header], Hashable]) -> list[list[Header]]:
    groups: dict[Hashable, list[Header]] = defaultdict(list)
    for header in headers:
        groups[fact(header)].append(header)
    return list(groups.values())


def _direction(header: Header) -> tuple[float, ...] | None:
    cosines = header.numbers("ImageOrientationPatient", 6)
    return tuple(np.round(cosines, DIRECTION_DECIMALS) + 0.0) if cosines else None


def _heights(headers: Sequence[Header]) -> np.ndarray | None:
    """Place of each slice along the first one's normal, in mm; None where a slice does not say where it lies."""
    cosines = headers[0].numbers("ImageOrientationPatient", 6)
    positions = [header.numbers("ImagePositionPatient", 3) for header in headers]
    if cosines is None or None in positions:
        return None
    return np.array(positions, float) @ np.cross(cosines[:3], cosines[3:])
