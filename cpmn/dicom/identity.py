"""Whose scan it is and when it was taken, as far as may be written: hashes, and the time only in memory."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from cpmn.dicom.headers import Header
from cpmn.dicom.references import References

KEY_DIGITS = 12  # of the hash that stands for a UID
TIMES = (
    ("AcquisitionDateTime", ""),
    ("AcquisitionDate", "AcquisitionTime"),
    ("SeriesDate", "SeriesTime"),
    ("ContentDate", "ContentTime"),
    ("StudyDate", "StudyTime"),
)
"""Tags of a date and its time, the nearest to the exposure first."""
SLOWLY = {"n": 2**14, "r": 8, "p": 1, "salt": b"cpmn patient", "dklen": 16}
"""Of scrypt (RFC 7914): 50 ms a hash, so that numbers of a hospital's length cannot be tried through in a moment."""


@dataclass(frozen=True)
class Identity:
    """Keys of patient, study and frame of reference, empty where the scan does not say.

    `acquired` is never written, and `references` by `predict` alone, whose results lie beside the scan.
    """

    patient: str = ""
    study: str = ""
    frame_of_reference: str = ""
    acquired: datetime | None = None
    references: References | None = None

    def to_json(self) -> dict[str, str]:
        """The keys under the names of the record."""
        return {"patient": self.patient, "study": self.study, "frame_of_reference": self.frame_of_reference}


def identity_of(headers: Iterable[Header]) -> Identity:
    """Identity of a series by its slices; the time is that of the earliest."""
    headers = list(headers)
    first = headers[0]
    return Identity(
        patient=patient_key(first.patient),
        study=uid_key(first.text("StudyInstanceUID")),
        frame_of_reference=uid_key(first.text("FrameOfReferenceUID")),
        acquired=min(filter(None, map(acquired_at, headers)), default=None),
    )


def uid_key(uid: str) -> str:
    """First digits of a UID's SHA-256: equal for equal UIDs, and no way back to them; empty for none."""
    return hashlib.sha256(uid.encode()).hexdigest()[:KEY_DIGITS] if uid else ""


@cache
def patient_key(hashed: str) -> str:
    """A slow hash of `Header.patient`, which is a quick one and never written; empty for none."""
    return hashlib.scrypt(hashed.encode(), **SLOWLY).hex()[:KEY_DIGITS] if hashed else ""


def acquired_at(header: Header) -> datetime | None:
    """When the slice was taken: the day is that of the first of `TIMES` with a date, the time the first that stands
    beside a date of that day; midnight where there is none."""
    read = [_read(header.text(date), header.text(time) if time else "") for date, time in TIMES]
    dated = [one for one in read if one is not None]
    exact = [moment for moment, timed in dated if timed and moment.date() == dated[0][0].date()]
    return next(iter(exact), dated[0][0] if dated else None)


def _read(date: str, time: str) -> tuple[datetime, bool] | None:
    """A DICOM date (YYYYMMDD) and time (HHMMSS.FFFFFF), or both in one text, and whether there is a time.

    Older exports write dots and colons.
    """
    digits = re.sub(r"[.:\-]", "", date.split("+")[0])
    day, clock = digits[:8], (digits[8:] or re.sub(r":", "", time)).split(".")[0][:6]
    try:
        return datetime.strptime(day + clock.ljust(6, "0"), "%Y%m%d%H%M%S"), bool(clock)
    except ValueError:
        return None
