"""What the training patients' crops look like; sees training patients only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.images import read_image
from cpmn.train.cases import crop_files


def fingerprint(patients: Sequence[str], crops: Path, labels: dict[str, int], paired: set[str]) -> dict[str, Any]:
    """Counts, median spacing (x, y, z) in mm and size in voxels, and the NCT intensities of clots in HU.

    Axes are those of the working grid (LPS order). `clot_hu` holds the 5th, 50th and 95th percentile, or None.
    """
    spacings, sizes, clots = [], [], []
    for patient in patients:
        files = crop_files(crops / patient, with_ctpa=False)
        nct, embolus = (sitk.DICOMOrient(read_image(files[name]), "LPS") for name in ("nct", "embolus"))
        spacings.append(nct.GetSpacing())
        sizes.append(nct.GetSize())
        clots.append(sitk.GetArrayFromImage(nct)[sitk.GetArrayFromImage(embolus) > 0])
    voxels = np.concatenate(clots)
    return {
        "patients": len(patients),
        "pe": sum(labels[patient] for patient in patients),
        "paired": len(paired.intersection(patients)),
        "median_spacing": [round(float(s), 6) for s in np.median(spacings, axis=0)],
        "median_size": [int(n) for n in np.median(sizes, axis=0)],
        "clot_hu": [float(q) for q in np.percentile(voxels, [5, 50, 95])] if voxels.size else None,
    }
