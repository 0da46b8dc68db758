"""How computed scans name themselves in DICOM, so that whoever converts them can tell what of them is made up."""

from collections.abc import Iterable, Mapping
from typing import Any

MANUFACTURER = "CPMN phantom"
PHANTOM_MODEL = "cpmn"  # everything is computed
CHEST_MODEL = "cpmn real anatomy"  # a real chest with simulated contrast, emboli and motion


def made_up(scanners: Iterable[Mapping[str, Any] | None]) -> str:
    """What of scans is made up, by the `scanner` of their facts: 'all', 'disease' (in real chests) or '' (nothing).

    A scan cannot lose this mark as long as it is DICOM, wherever it is copied to.
    """
    models = {one.get("model") for one in scanners if one and one.get("manufacturer") == MANUFACTURER}
    if not models:
        return ""
    return "disease" if CHEST_MODEL in models else "all"


def makers_known(scanners: Iterable[Mapping[str, Any] | None]) -> bool:
    """Whether each scan says what made it; an image file does not, and may be a computed scan's."""
    return all(one and one.get("manufacturer") for one in scanners)
