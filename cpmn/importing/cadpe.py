"""CAD-PE (Gonzalez et al. 2020): 91 CTPA as NRRD, reference standards with clot ids.

images/001.nrrd, e0032.nrrd
rs/0001RefStd.nrrd, e0032RefStd.nrrd          # 001 goes with 0001, with four digits
"""

from functools import partial
from pathlib import Path

from cpmn.importing.entry import Entry, Skipped, natural, required
from cpmn.importing.masks import mask_of_image


def find_entries(source: Path) -> list[Entry | Skipped]:
    """Patients below `source`, which holds images and rs. Raises CpmnError if it does not."""
    images, references = required(source / "images", "CAD-PE"), required(source / "rs", "CAD-PE")
    paths = sorted(images.glob("*.nrrd"), key=lambda path: natural(path.name))
    return [_entry(path, references / f"{reference_name(path.stem)}.nrrd") for path in paths]


def reference_name(image: str) -> str:
    """Name of an image's reference standard, both without their suffix."""
    return f"{int(image):04d}RefStd" if image.isdecimal() else f"{image}RefStd"


def _entry(image: Path, reference: Path) -> Entry | Skipped:
    if not reference.is_file():
        return Skipped(image.stem, f"{reference} does not exist")
    return Entry(image.stem, image, mask=partial(mask_of_image, image.stem, image, reference))
