"""Images that a computer made of an acquisition and that look like a plain scan: virtual non-contrast, iodine maps."""

import re

from cpmn.dicom.headers import Header

MATERIALS = {"MAT_SPECIFIC", "MAT_REMOVED", "MAT_FRACTIONAL", "MAT_VALUE_BASED", "MAT_MODIFIED", "EFF_ATOMIC_NUM"}
"""Fourth value of ImageType of multi-energy images that show or remove a material (DICOM PS3.3, C.8.15.3.1.1)."""
ENERGIES = {"VMI"}
OTHER = {"ELECTRON_DENSITY"}

# Names that vendors give: Siemens (VNC, Iodine, PBV, Mono+), GE (VUE, Water(Iodine), MD), Philips (VNC, MonoE), Canon.
REMOVED_NAME = re.compile(r"\b(vnc|vue|virtual[ -]?(non|un|native?)\w*|vnca)\b", re.I)
MATERIAL_NAME = re.compile(
    r"\b(iod(ine)?([ -]?(map|karte|overlay|density))?|pbv|z[ -]?eff|overlay|perfusion map|material (density|map))\b"
    r"|\brho/?z\b|\b(water|calcium|iodine|fat) ?\(",
    re.I,
)
ENERGY_NAME = re.compile(r"\b(mono(e|energetic|chromatic|\+)?[ _-]?\d{2,3}|\d{2,3} ?kev)\b|\bkev\b", re.I)


def virtual_kind(header: Header) -> str:
    """What kind of computed image a slice is, as a noun; empty for a measured one.

    By ImageType (standard values, and vendors' own words in it) and by the series description.
    """
    types, text = header.image_type, header.text("SeriesDescription").replace("_", " ")
    words = " ".join(sorted(types)).replace("_", " ")
    if "MAT_REMOVED" in types or REMOVED_NAME.search(text) or REMOVED_NAME.search(words):
        return "virtual non-contrast image"
    if types & (MATERIALS | OTHER) or MATERIAL_NAME.search(text) or MATERIAL_NAME.search(words):
        return "material map of a dual-energy scan"
    if types & ENERGIES or ENERGY_NAME.search(text):
        return "virtual monoenergetic image"
    return ""
