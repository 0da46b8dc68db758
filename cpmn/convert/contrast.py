"""Evidence in the header that contrast medium was, or was not, in the vessels."""

import re
from typing import Literal

from cpmn.convert.headers import Header

Evidence = Literal["present", "absent", "unknown"]

# Words of series descriptions (English, German, French, Latin), our choice from common protocol names.
ABSENT = re.compile(
    r"\b(nati(ve?|f)|non?[ -]?(contrast|c\b|ce\b|enh\w*)|without|w/?o|unenhanced|plain|n[c]?ct|sine|sans|ohne)\b", re.I
)
PRESENT = re.compile(r"\b(ctpa|cta|angio\w*|pulm\w* ?embol\w*|contrast|enhanced|cect|post|km|iv)\b|(\+ ?c|c ?\+)", re.I)
NO_AGENT = re.compile(r"(none?|no|n|without|0|oral|per os)( contrast)?", re.I)


def contrast_evidence(header: Header) -> tuple[Evidence, str]:
    """Whether the slice was acquired with intravenous contrast, and the tag that says so.

    The series description comes first, as it is chosen for the series, where ContrastBolusAgent is often copied
    from the protocol to every series of a study. An oral agent is no evidence. Our choice.
    """
    description = header.text("SeriesDescription").replace("_", " ")
    if ABSENT.search(description):
        return "absent", "SeriesDescription"
    if PRESENT.search(description):
        return "present", "SeriesDescription"
    agent = header.text("ContrastBolusAgent")
    if not agent or "ORAL" in header.text("ContrastBolusRoute").upper():
        return "unknown", "no tag"
    return ("absent" if NO_AGENT.fullmatch(agent) else "present"), "ContrastBolusAgent"
