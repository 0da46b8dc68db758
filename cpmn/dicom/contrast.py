"""Evidence in the header, or else in the image, that contrast medium was, or was not, in the vessels."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.blood import LOOK_MM, front_mediastinum, look_factors
from cpmn.anatomy.lungs import segment_lungs
from cpmn.dicom.headers import Header
from cpmn.errors import CpmnError

Evidence = Literal["present", "absent", "unknown"]

# Words of series descriptions (English, German, French, Latin), our choice from common protocol names.
ABSENT = re.compile(
    r"\b(nati(ve?|f)|non?[ -]?(contrast|c\b|ce\b|enh\w*)|without|w/?o|unenhanced|plain|n[c]?ct|sine|sans|ohne)\b", re.I
)
PRESENT = re.compile(r"\b(ctpa|cta|angio\w*|pulm\w* ?embol\w*|contrast|enhanced|cect|post|km|iv)\b|(\+ ?c|c ?\+)", re.I)
NO_AGENT = re.compile(r"(none?|no|n|without|0|oral|per os)( contrast)?", re.I)


SOFT_HU = 0.0  # fat, lung and airways lie below
BLOOD_PERCENTILE = 90.0  # of soft tissue: right heart and pulmonary arteries alone fill more than the upper tenth
PRESENT_HU = 110.0  # our choice: blood without contrast has 20-65 HU, and even late or poor filling leaves more
ABSENT_HU = 90.0  # our choice; three real and eight phantom scans without contrast have 54-74 here
SMALLEST_ML = 100.0  # of soft tissue between the lungs: less holds no heart


@dataclass(frozen=True)
class Contrast:
    """Whether contrast medium was in the vessels, what says so, and the blood's HU where the image was asked.

    lungs : whether it shows lungs; None where it was not asked.
    """

    evidence: Evidence
    source: str
    blood_hu: float | None = None
    lungs: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields under the names of the record."""
        asked = {} if self.blood_hu is None else {"blood_hu": round(self.blood_hu, 1)}
        return {"evidence": self.evidence, "from": self.source, **asked}


def contrast_evidence(header: Header) -> Contrast:
    """Whether the slice was acquired with intravenous contrast, and the tag that says so.

    The series description comes first, as it is chosen for the series, where ContrastBolusAgent is often copied
    from the protocol to every series of a study. An oral agent is no evidence. Our choice.
    """
    description = header.text("SeriesDescription").replace("_", " ")
    if ABSENT.search(description):
        return Contrast("absent", "SeriesDescription")
    if PRESENT.search(description):
        return Contrast("present", "SeriesDescription")
    agent = header.text("ContrastBolusAgent")
    if not agent or "ORAL" in header.text("ContrastBolusRoute").upper():
        return Contrast("unknown", "no tag")
    return Contrast("absent" if NO_AGENT.fullmatch(agent) else "present", "ContrastBolusAgent")


def contrast_in_image(image: sitk.Image) -> Contrast:
    """Evidence in a chest CT (HU, LPS): the HU of the heart and the great vessels, apart from all bone.

    Our rule: of the voxels with lung to their right and left, in the front 60 % of the lungs' depth, those of soft
    tissue are taken (so that ribs, spine and shoulders are left out, and calcifications are few); the 90th percentile
    of their HU shows contrast from 110 on and its absence up to 90. Unknown between, or without lungs.
    """
    try:
        lungs = segment_lungs(image, spacing_mm=LOOK_MM)
    except CpmnError:
        return Contrast("unknown", "neither tag nor lungs", lungs=False)
    blood_hu = _blood_hu(image, lungs)
    if blood_hu is None or ABSENT_HU < blood_hu < PRESENT_HU:
        return Contrast("unknown", "image", blood_hu, lungs=True)
    return Contrast("present" if blood_hu >= PRESENT_HU else "absent", "image", blood_hu, lungs=True)


def _blood_hu(image: sitk.Image, lungs: sitk.Image) -> float | None:
    """90th percentile of the soft tissue between the front parts of the lungs, or None if there is too little."""
    hu, _, between = front_mediastinum(image, lungs)
    soft = hu[between & (hu > SOFT_HU)]
    voxel_ml = np.prod(image.GetSpacing()) * np.prod(look_factors(image)) / 1000
    return float(np.percentile(soft, BLOOD_PERCENTILE)) if soft.size * voxel_ml >= SMALLEST_ML else None
