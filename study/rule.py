"""A rule of thumb that needs no mask: holes in opacified arteries of the CTPA. The control of who learns to outline.

Inside the closed lungs what is dense and not opacified is clot, if a good part of what lies around it is opacified.
The numbers were chosen on ten of the training patients, by their clots: in use there would be nobody to choose them by.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from tqdm import tqdm

from cpmn.anatomy.lungbox import find_box
from cpmn.anatomy.vessels import OPACIFIED_HU, SMOOTHING_VOXELS, closed_lungs
from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import load_cohort
from cpmn.config.root import Config
from cpmn.config.train import Spacing
from cpmn.errors import CpmnError
from cpmn.files import read_json, write_json
from cpmn.job.status import exclusions
from cpmn.scoring.lesions import components
from cpmn.volume.box import crop_image, paste
from cpmn.volume.images import image_like, read_image, write_image
from cpmn.volume.voxels import smoothed_inside
from study.cohort import MASKS, RULE

DENSE_HU = -30.0
RIM_MM = 2.0  # partial volume of a wall looks like clot
HIGHEST_HU = 150.0
GROWN_HU = 170.0  # a hole grows back by one voxel, into what is dimmer than this
AROUND = 0.2  # share of what lies within two voxels of a hole that is opacified
SMALLEST_MM3, LARGEST_ML = 15.0, 20.0


def outline_by_rule(results: Path, folder: Path, config: Config) -> dict[str, int]:
    """Outline the pairs that nobody outlined on their converted CTPA; pieces by patient.

    Writes `folder`/PATIENT.nii.gz, piece ids on the native CTPA, of those with a hole. Patients that were excluded are
    left out.

    Raises CpmnError if the folder holds outlines already.
    """
    if (folder / MASKS).exists():
        raise CpmnError(f"{folder} holds outlines already. Name another folder.")
    reported = [p.patient_id for p in load_cohort(results.parent / "cohort.csv") if p.ctpa and is_reported(p)]
    excluded, found = exclusions(reported, results), {}
    for patient in tqdm([one for one in reported if one not in excluded], disable=None):
        image = read_image(results / "convert" / patient / "ctpa.nii.gz")
        box, lungs, _ = find_box(image, config.crop)
        crop, lungs = crop_image(image, box), crop_image(lungs, box)
        hu, lung = (sitk.GetArrayFromImage(one) for one in (crop, lungs))
        outline = holes(hu.astype(np.float32), lung > 0, crop.GetSpacing())
        found[patient] = int(outline.max())
        if outline.any():
            write_image(paste(image_like(outline, crop), image), folder / f"{patient}.nii.gz")
    write_json(folder / MASKS, read_json(results.parent / MASKS) | {"by": RULE})  # last: the folder is whole
    return found


def holes(ctpa: np.ndarray, lung: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Ids from 1 (uint16, (z, y, x)) of holes in the opacified vessels of a CTPA (HU); `spacing` is (x, y, z) in mm."""
    dense = ctpa > DENSE_HU
    smooth = smoothed_inside(ctpa, dense, SMOOTHING_VOXELS)
    inside = dense & closed_lungs(lung, spacing)
    deep = np.asarray(ndimage.distance_transform_edt(dense, sampling=spacing[::-1])) >= RIM_MM
    pieces = components(inside & deep & (smooth > 0) & (smooth < HIGHEST_HU), spacing, SMALLEST_MM3)
    near = ndimage.grey_dilation(pieces, size=(5, 5, 5))
    near[(pieces > 0) | ~dense] = 0
    count = pieces.max() + 1
    opacified = np.bincount(near[smooth >= OPACIFIED_HU], minlength=count)
    bordered = opacified >= AROUND * np.maximum(np.bincount(near.ravel(), minlength=count), 1)
    small = np.bincount(pieces.ravel()) * float(np.prod(spacing)) < LARGEST_ML * 1000
    kept = np.logical_and(bordered, small)
    kept[0] = False
    grown = np.asarray(ndimage.binary_dilation(kept[pieces]), bool) & inside & (smooth < GROWN_HU)
    return components(grown, spacing).astype(np.uint16)
