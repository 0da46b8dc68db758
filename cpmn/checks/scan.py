"""The facts of one scan against each other: image and tags, acquisitions, numbers, files."""

from collections.abc import Mapping
from typing import Any

import SimpleITK as sitk

from cpmn.checks.finding import Finding, doubtful, failed, passed
from cpmn.checks.image import check_image
from cpmn.checks.slices import levels_agree, slices_agree

WRONG = {"nct": "present", "ctpa": "absent"}
PHASE = {"nct": "a non-contrast CT", "ctpa": "a CTPA"}
OTHER = {"nct": "ctpa", "ctpa": "nct"}


def check_scan(image: sitk.Image, facts: Mapping[str, Any], phase: str) -> list[Finding]:
    """Findings of a scan as `cpmn.dicom.scan.read_scan` gives it, causes first: the first that is refused is raised.

    Parameters
    ----------
    image : HU, ordered LPS.
    facts : of `read_scan`.
    phase : "nct" or "ctpa", what the scan is given as.
    """
    return [*check_image(image, facts), *levels_agree(image), *slices_agree(image), *check_headers(facts, phase)]


def check_headers(facts: Mapping[str, Any], phase: str) -> list[Finding]:
    """The findings that need no pixels; `facts` of `read_scan`, or of `cpmn.dicom.scan.read_headers`."""
    return [
        _contrast(facts, phase),
        *_virtual(facts, phase),
        *_acquisition(facts),
        *_numbering(facts),
        *_unreadable(facts),
    ]


def _contrast(facts: Mapping[str, Any], phase: str) -> Finding:
    """Whether the blood is as the phase expects, by the image; by the tags where the image does not tell."""
    found, tags = facts["contrast"], facts["contrast_by_tags"]
    blood = f", blood {found['blood_hu']:g} HU" if "blood_hu" in found else ""
    seen = f"contrast is {found['evidence']} (from: {found['from']}{blood})"
    if found["evidence"] == WRONG[phase]:
        problem = f"{seen}, which is not expected of {PHASE[phase]}"
        remedy = f"Give {PHASE[phase]}; is this one {PHASE[OTHER[phase]]}?"
        asked = found["from"] == "image"
        return (failed if asked else doubtful)("contrast", problem, remedy)
    if "unknown" not in (tags, found["evidence"]) and tags != found["evidence"]:
        return doubtful("contrast", f"{seen}, its tags say {tags}", "Correct the series description, or look at it.")
    return passed("contrast", seen)


def _virtual(facts: Mapping[str, Any], phase: str) -> list[Finding]:
    if not (kind := facts["virtual"]):
        return [passed("virtual")] if facts["source"] == "dicom" else []
    if phase == "ctpa" and kind == "virtual monoenergetic image":
        return [doubtful("virtual", f"the series is a {kind}: HU follow its energy", "Prefer the mixed image.")]
    remedy = f"Give the measured series of {PHASE[phase]}: a computed one has other noise, and traces of contrast."
    return [failed("virtual", f"the series is a {kind}, no {PHASE[phase].split(' ', 1)[1]}", remedy)]


def _acquisition(facts: Mapping[str, Any]) -> list[Finding]:
    if facts["source"] != "dicom":
        return []
    if by := facts["told_apart"]:
        seen = f"the series holds several acquisitions, told apart by {by}; one of them was taken"
        return [doubtful("acquisition", seen, "Look at which one, and name it where another is meant.")]
    return [passed("acquisition")]


def _numbering(facts: Mapping[str, Any]) -> list[Finding]:
    if facts["source"] != "dicom":
        return []
    if facts["numbering"]:
        return [doubtful("numbering", facts["numbering"], "Export the series again if it is not whole.")]
    return [passed("numbering")]


def _unreadable(facts: Mapping[str, Any]) -> list[Finding]:
    if facts["source"] != "dicom":
        return []
    if count := facts["unreadable_files"]:
        seen = (
            f"{count} {'file' if count == 1 else 'files'} beside the slices cannot be read as DICOM (empty or damaged)"
        )
        return [doubtful("unreadable", seen, "Export the series again if slices are lost.")]
    return [passed("unreadable")]
