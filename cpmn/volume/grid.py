"""The working grid, where the network sees a crop: axes in DICOM's LPS order, one spacing for all patients.

Native voxels are resampled to it and their HU normalised here, for training and for prediction alike.
"""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

SAME_SPACING_MM = 1e-3  # our choice: closer spacings are not worth a resampling


def working_image(image: sitk.Image, spacing: Sequence[float]) -> sitk.Image:
    """`image` as float32 on the working grid: axes in LPS order, voxels of `spacing` (x, y, z) in mm, linear.

    Along axes that get coarser, the image is first smoothed by a Gaussian of (factor - 1) / 2 voxels against aliasing
    (scikit-image's rule): on NCT this averaging is what lifts a faint clot out of the noise. The outer voxels repeat
    beyond the border. An image that has the spacing already keeps its voxels.
    """
    image = sitk.Cast(sitk.DICOMOrient(image, "LPS"), sitk.sitkFloat32)
    old, new = np.array(image.GetSpacing()), np.array(spacing, float)
    if np.all(np.abs(old - new) < SAME_SPACING_MM):
        return image
    sigma = np.maximum(new / old - 1, 0)[::-1] / 2
    smooth = sitk.GetImageFromArray(ndimage.gaussian_filter(sitk.GetArrayFromImage(image), sigma, mode="nearest"))
    smooth.CopyInformation(image)
    return resample(smooth, empty_working_grid(image, new))


def empty_working_grid(image: sitk.Image, spacing: np.ndarray) -> sitk.Image:
    """Grid of `spacing` that covers the voxels of `image` (edges included), sharing its centre and direction."""
    extent = np.array(image.GetSize()) * np.array(image.GetSpacing())
    size = np.maximum(np.ceil(extent / spacing - 1e-3), 1).astype(int)
    centre = image.TransformContinuousIndexToPhysicalPoint(((np.array(image.GetSize()) - 1) / 2).tolist())
    direction = np.array(image.GetDirection()).reshape(3, 3)
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(spacing.tolist())
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin((np.array(centre) - direction @ ((size - 1) / 2 * spacing)).tolist())
    return grid


def resample(image: sitk.Image, grid: sitk.Image, interpolator: int = sitk.sitkLinear) -> sitk.Image:
    """`image` on the voxels of `grid`; beyond its border the outer voxels repeat."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(grid)
    resampler.SetInterpolator(interpolator)
    resampler.SetUseNearestNeighborExtrapolator(True)
    resampler.SetOutputPixelType(image.GetPixelID())
    return resampler.Execute(image)


def normalise(hu: np.ndarray, center: float, scale: float, clip: float) -> np.ndarray:
    """Network intensities, float32: (HU - center) / scale, clipped to +- clip."""
    intensities = (hu.astype(np.float32) - np.float32(center)) / np.float32(scale)
    return np.clip(intensities, -clip, clip)
