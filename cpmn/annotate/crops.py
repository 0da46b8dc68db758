"""What the networks of `annotate` see of a CTPA: native voxels inside the box of its lungs, and the outline."""

from pathlib import Path
from typing import Literal

import numpy as np

from cpmn.anatomy.lungbox import find_box
from cpmn.checks.finding import Finding
from cpmn.checks.outline import no_outline, read_outline
from cpmn.cohort.sheet import Patient
from cpmn.config.crop import CropConfig
from cpmn.errors import PatientError, named
from cpmn.files import write_json
from cpmn.volume.box import crop_image
from cpmn.volume.images import image_like, read_image, write_image


def crop_ctpa(
    patient: Patient,
    ctpa: Path,
    folder: Path,
    config: CropConfig,
    unannotated: Literal["use", "refuse"] = "use",
    nct: Path | None = None,
) -> list[Finding]:
    """Write `folder`/{ctpa,embolus,lung}.nii.gz and crop.json; the embolus holds clot ids, none without a mask.

    ctpa : converted CTPA in HU, whose grid all files keep.
    nct : converted NCT of a pair, whose grid a mask may lie on by mistake.

    Returns what the checks of the mask found. Raises PatientError if there are no lungs, and as `propagate` does for a
    mask that cannot be right, an `nct_mask` without an NCT too. With `refuse` also for label 1 without a mask.
    """
    if patient.nct_mask is not None and patient.nct is None:
        remedy = "Name the NCT in cohort.csv, or, if it is an outline of the CTPA, name it ctpa_mask"
        raise PatientError(patient.patient_id, "an nct_mask is given without an nct", f"{remedy}.", patient.nct_mask)
    if patient.label == 1 and patient.ctpa_mask is None and unannotated == "refuse":
        raise no_outline(patient, "a ctpa_mask")
    with named(patient.patient_id, ctpa):
        image = read_image(ctpa)
        box, lungs, mirrored = find_box(image, config)
    embolus, findings = image_like(np.zeros(image.GetSize()[::-1], np.uint16), image), []
    if patient.ctpa_mask is not None:
        other = None if nct is None else read_image(nct)
        embolus, findings = read_outline(patient, patient.ctpa_mask, image, "CTPA", other)
    for name, value in (("ctpa", image), ("embolus", embolus), ("lung", lungs)):
        write_image(crop_image(value, box), folder / f"{name}.nii.gz")
    write_json(folder / "crop.json", box.to_json() | {"margin_mm": config.margin_mm, "mirrored": mirrored})
    return findings
