"""Which files a volume was made of, for what must refer to them: results that an archive files beside the scan."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cpmn.dicom.headers import Header


@dataclass(frozen=True)
class Slice:
    """One slice as the archive knows it; `frame` counts from 1 in a multi-frame file and is None elsewhere.

    position : centre of its first pixel, LPS in mm.
    """

    sop_instance_uid: str
    instance_number: int | None
    frame: int | None
    position: tuple[float, float, float]


@dataclass(frozen=True)
class References:
    """UIDs of a scan, kept in memory for results that refer to it; of no stage's records."""

    study: str
    series: tuple[str, ...]
    frame_of_reference: str
    slices: tuple[Slice, ...]

    def nearest(self, point: Sequence[float], normal: Sequence[float]) -> Slice:
        """The slice nearest to `point` (LPS, mm) along `normal`: a resampled volume has places of its own."""
        offsets = (np.array([one.position for one in self.slices]) - np.asarray(point)) @ np.asarray(normal)
        return self.slices[int(np.abs(offsets).argmin())]


def references_of(slices: Iterable[Header]) -> References:
    """UIDs of a series' slices, in their order."""
    slices = list(slices)
    return References(
        study=slices[0].text("StudyInstanceUID"),
        series=tuple(dict.fromkeys(one.text("SeriesInstanceUID") for one in slices)),
        frame_of_reference=slices[0].text("FrameOfReferenceUID"),
        slices=tuple(_slice(one) for one in slices),
    )


def _slice(header: Header) -> Slice:
    number, position = header.number("InstanceNumber"), header.numbers("ImagePositionPatient", 3)
    assert position is not None  # else the slices would form no volume
    return Slice(
        sop_instance_uid=header.text("SOPInstanceUID"),
        instance_number=None if number is None else int(number),
        frame=None if header.frame is None else header.frame + 1,
        position=(position[0], position[1], position[2]),
    )
