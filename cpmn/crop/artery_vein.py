"""The optional vessel mask of a patient, cut to the box of the lungs."""

from pathlib import Path

from cpmn.anatomy.artery_vein import read_vessels
from cpmn.volume.box import box_of, crop_image
from cpmn.volume.images import read_image, write_image


def crop_vessels(patient_id: str, *, vessels: Path, nct: Path, crop: Path, output: Path) -> None:
    """Write the part of `vessels` (arteries 1, veins 2, on the grid of `nct`) that lies on the grid of `crop`.

    `nct` is the converted NCT and `crop` its crop. Raises PatientError as `read_vessels`.
    """
    native = read_image(nct)
    mask = read_vessels(patient_id, vessels, native)
    write_image(crop_image(mask, box_of(read_image(crop), native)), output)
