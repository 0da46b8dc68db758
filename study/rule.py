"""A rule of thumb that needs no mask: holes in opacified arteries of the CTPA. The control of who learns to outline.

Inside the closed lungs what is dense and not opacified is clot, if a good part of what lies around it is opacified.
The numbers were chosen on ten of the training patients, by their clots: in use there would be nobody to choose them by.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from cpmn.anatomy.lungbox import find_box
from cpmn.anatomy.vessels import OPACIFIED_HU, SMOOTHING_VOXELS, closed_lungs
from cpmn.config.root import Config
from cpmn.config.train import Spacing
from cpmn.scoring.lesions import components
from cpmn.volume.box import crop_image
from cpmn.volume.images import read_image
from cpmn.volume.voxels import smoothed_inside
from study.cohort import RULE
from study.own import write_outlines

DENSE_HU = -30.0
RIM_MM = 2.0  # partial volume of a wall looks like clot
HIGHEST_HU = 150.0
GROWN_HU = 170.0  # a hole grows back by one voxel, into what is dimmer than this
AROUND = 0.2  # share of what lies within two voxels of a hole that is opacified
SMALLEST_MM3, LARGEST_ML = 15.0, 20.0


def outline_by_rule(results: Path, folder: Path, config: Config) -> dict[str, int]:
    """Outline the pairs that nobody outlined on their converted CTPA, as `write_outlines`."""

    def draw(patient: str) -> tuple[np.ndarray, sitk.Image]:
        image = read_image(results / "convert" / patient / "ctpa.nii.gz")
        box, lungs, _ = find_box(image, config.crop)
        crop, lungs = crop_image(image, box), crop_image(lungs, box)
        hu, lung = (sitk.GetArrayFromImage(one) for one in (crop, lungs))
        return holes(hu.astype(np.float32), lung > 0, crop.GetSpacing()), crop

    return write_outlines(results, folder, RULE, "ctpa", draw)


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
