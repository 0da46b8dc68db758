"""The stage `crop`: what the network sees, cut out of the native grid.

The box and its margin are `cpmn.anatomy.lungbox`'s, worked out from the NCT and the configuration only. Neither the
CTPA nor the embolus label can move it: at test time they do not exist.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.lungbox import find_box, touched_sides
from cpmn.anatomy.lungs import lung_parts_ml
from cpmn.config.crop import CropConfig
from cpmn.errors import PatientError, named
from cpmn.files import write_json
from cpmn.volume.box import Box, crop_image
from cpmn.volume.images import describe_grid, read_image, same_grid, voxel_ml, write_image

logger = logging.getLogger(__name__)


def crop_patient(
    patient_id: str, *, nct: Path, ctpa_in_nct: Path | None, embolus: Path, folder: Path, config: CropConfig
) -> None:
    """Write `folder`/{nct,ctpa,embolus,lung}.nii.gz and crop.json (the CTPA only if given).

    Parameters
    ----------
    nct : converted NCT in HU; `ctpa_in_nct` and `embolus` lie on its grid.

    Raises PatientError if there are no lungs, or if an image is unreadable or lies on another grid.
    """
    with named(patient_id, nct):
        image = read_image(nct)
        box, lungs, mirrored = find_box(image, config)
        others = {"ctpa": ctpa_in_nct, "embolus": embolus}
        images = {"nct": image, "lung": lungs}
        images |= {name: _on_grid(patient_id, path, image) for name, path in others.items() if path is not None}
    for name, value in images.items():
        write_image(crop_image(value, box), folder / f"{name}.nii.gz")
    if ctpa_in_nct is None:  # of an earlier run, when the patient had one
        (folder / "ctpa.nii.gz").unlink(missing_ok=True)
    write_json(folder / "crop.json", _facts(box, images, config) | {"mirrored": mirrored})
    _report_outside(patient_id, box, images["embolus"])


def embolus_outside(embolus: sitk.Image, box: Box) -> dict[str, Any]:
    """How much of the label (clot ids, 0 = none) lies outside the box: volumes in mL, clots lost and clots cut."""
    labels = sitk.GetArrayViewFromImage(embolus)
    inside = labels[box.slices]
    total, kept = (dict(zip(*np.unique(part[part > 0], return_counts=True), strict=True)) for part in (labels, inside))
    voxel = voxel_ml(embolus)
    return {
        "embolus_ml": sum(total.values()) * voxel,
        "embolus_ml_outside": (sum(total.values()) - sum(kept.values())) * voxel,
        "clots_outside": [int(clot) for clot in total if clot not in kept],
        "clots_cut": [int(clot) for clot in kept if kept[clot] < total[clot]],
    }


def _on_grid(patient_id: str, path: Path, nct: sitk.Image) -> sitk.Image:
    image = read_image(path)
    if not same_grid(image, nct):
        raise PatientError(
            patient_id,
            f"the image has {describe_grid(image)}, but the NCT has {describe_grid(nct)}",
            "Run the stages before crop again.",
            path,
        )
    return image


def _facts(box: Box, images: dict[str, sitk.Image], config: CropConfig) -> dict[str, Any]:
    parts = lung_parts_ml(images["lung"])
    return {
        **box.to_json(),
        "margin_mm": config.margin_mm,
        "lung_ml": sum(parts),
        "lung_parts_ml": parts,
        "lungs_cut_by_scan": touched_sides(images["lung"]),
        **embolus_outside(images["embolus"], box),
    }


def _report_outside(patient_id: str, box: Box, embolus: sitk.Image) -> None:
    facts = embolus_outside(embolus, box)
    if facts["embolus_ml_outside"]:
        logger.warning(
            "patient %s: %.2f of %.2f mL of embolus lie outside the lung box and are not used (clots %s)",
            patient_id,
            facts["embolus_ml_outside"],
            facts["embolus_ml"],
            facts["clots_outside"] + facts["clots_cut"],
        )
