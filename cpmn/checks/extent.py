"""Whether an image is large enough to be asked: what it cannot answer is not asked."""

import numpy as np
import SimpleITK as sitk

SMALLEST_MM = 100.0  # ours: less shows too little of a body, and no lung for a mask to fall into


def large_enough(image: sitk.Image, axes: str = "xyz") -> bool:
    """Whether an image is at least `SMALLEST_MM` long along its `axes`: "xyz", or "xy" where few slices will do."""
    extent = np.multiply(image.GetSize(), image.GetSpacing())
    return bool(extent[: len(axes)].min() >= SMALLEST_MM)
