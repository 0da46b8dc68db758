"""What the training patients' crops look like, which the plan follows from; sees training patients only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.volume.images import read_image
from cpmn.volume.noise import noise_hu

PERCENTILES = (5, 50, 95)


def fingerprint(files: Sequence[Mapping[str, Path]], labels: Sequence[int]) -> dict[str, Any]:
    """Counts; spacing (x, y, z) in mm and size in voxels with their ranges; intensities of the first phase in HU.

    files : of each patient's crop by what they show, its grid's phase first (see `cpmn.train.subjects.crop_files`).
    labels : 1 = PE, 0 = none, of each.

    Axes are those of the working grid (LPS order); `extent_range_mm` is that of the crops, `noise_range_hu` by
    `cpmn.volume.noise`. `lung_hu` and `clot_hu` hold the 5th, 50th and 95th percentile: inside the lungs the median of
    the patients' own, in clots of all voxels together. None where there are no voxels.
    """
    spacings, sizes, clots, lungs, noises = [], [], [], [], []
    for one in files:
        names = (next(iter(one)), "embolus", "lung")
        scan, embolus, lung = (sitk.DICOMOrient(read_image(one[name]), "LPS") for name in names)
        spacings.append(scan.GetSpacing())
        sizes.append(scan.GetSize())
        hu = sitk.GetArrayFromImage(scan)
        if (noise := noise_hu(hu)) is not None:
            noises.append(noise)
        clots.append(hu[sitk.GetArrayFromImage(embolus) > 0])
        if (inside := hu[sitk.GetArrayFromImage(lung) > 0]).size:
            lungs.append(np.percentile(inside, PERCENTILES))
    voxels = np.concatenate(clots)
    return {
        "patients": len(files),
        "pe": sum(labels),
        "paired": sum({"nct", "ctpa"} <= set(one) for one in files),
        "median_spacing": [round(float(s), 6) for s in np.median(spacings, axis=0)],
        "median_size": [int(n) for n in np.median(sizes, axis=0)],
        "spacing_range": [np.round(limit, 6).tolist() for limit in (np.min(spacings, 0), np.max(spacings, 0))],
        "size_range": [limit.tolist() for limit in (np.min(sizes, 0), np.max(sizes, 0))],
        "extent_range_mm": _limits(np.multiply(spacings, sizes)),
        "noise_range_hu": [round(limit(noises), 2) for limit in (min, max)] if noises else None,
        "lung_hu": np.median(lungs, axis=0).tolist() if lungs else None,
        "clot_hu": np.percentile(voxels, PERCENTILES).tolist() if voxels.size else None,
    }


def _limits(values: np.ndarray) -> list[list[float]]:
    """Least and greatest along each axis."""
    return [np.round(limit, 1).tolist() for limit in (values.min(axis=0), values.max(axis=0))]
