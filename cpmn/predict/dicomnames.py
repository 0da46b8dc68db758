"""What the DICOM files of a prediction have in common: titles, codes, colours and UIDs, which follow the decision."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from highdicom import UID
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import cpmn
from cpmn.dicom.segmentation import NAME
from cpmn.dicom.uids import uid_of

NOTE = "research use only"
LONGEST_TEXT = 1024  # characters of a short text (VR ST)
LONGEST_NAME = 64  # of a long string (VR LO)
LONGEST_CODE = 16  # of a code string (VR CS)
SERIES_NUMBERS = {"segmentation": 9000, "report": 9001, "picture": 9002}  # ours: behind those that scanners give
POSITIVE_RGB, OTHER_RGB = (255, 77, 77), (255, 176, 0)
SCHEME = "99CPMN"  # private codes begin with 99 (DICOM PS3.3, 8.2)


def own_code(value: str, meaning: str) -> CodedConcept:
    """A concept that no public scheme holds."""
    return CodedConcept(value[:LONGEST_CODE], SCHEME, meaning[:LONGEST_NAME])


def title(record: Mapping[str, Any]) -> str:
    """Decision and number of marks, as an archive lists it."""
    count = len(record["lesions"])
    marks = f"{count} mark{'' if count == 1 else 's'}" if count else "no mark"
    return f"{NAME}: {record['decision']}, {marks} ({NOTE})"[:LONGEST_NAME]


def label(record: Mapping[str, Any]) -> str:
    """The decision as a code string: letters, digits and underscores."""
    return re.sub(r"[^A-Z0-9]+", "_", record["decision"].upper()).strip("_")[:LONGEST_CODE]


def mark_label(record: Mapping[str, Any], number: int) -> str:
    """Name of a mark, or of the empty segment that stands where there is none: an embolus where PE was decided only."""
    if not record["lesions"]:
        return f"No mark ({NOTE})"
    what = f"Pulmonary embolus {number}" if record["positive"] else f"Mark {number}, decision {record['decision']}"
    return f"{what} ({NOTE})"[:LONGEST_NAME]


def mark_type(record: Mapping[str, Any]) -> Code:
    """What a mark is called by its code."""
    return codes.SCT.Embolus if record["positive"] and record["lesions"] else codes.DCM.ImageRegion


def mark_text(lesion: Mapping[str, Any]) -> str:
    """One line on a mark."""
    side = {"both": "both sides"}.get(lesion["side"], lesion["side"])
    return (
        f"{lesion['volume_ml']:.2f} mL, {side}, {lesion['region']}, slice {lesion['slice']}, "
        f"{lesion['longest_mm']:.0f} mm long, {lesion['mean_hu']:.0f} HU, confidence {lesion['confidence']:.2f}"
    )


def result_uid(source: Sequence[str], record: Mapping[str, Any], part: str) -> UID:
    """UID of a part of the result: the same for the same source, model and version, so that a new reading replaces.

    source : `series` of the scan's files for a series of results, their `content` for what lies in it.
    """
    return UID(uid_of("/".join([NAME, *source, record["model"]["sha256"], cpmn.__version__, part])))
