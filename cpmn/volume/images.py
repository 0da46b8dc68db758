"""Images and their geometry.

Conventions used everywhere in this package:

- arrays are ordered (z, y, x), as SimpleITK and numpy hold them; tensors are (batch, channel, z, y, x);
- everything physical (spacing, origin, points, sizes in the configuration) is ordered (x, y, z);
- lengths are in mm, intensities in Hounsfield units (HU), volumes in mL;
- world coordinates are DICOM's (LPS), as in SimpleITK; NIfTI files hold the same geometry in RAS.
"""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from isal import igzip

from cpmn.errors import CpmnError, blame_machine
from cpmn.files import written_atomically
from cpmn.volume.forms import Believed, Unplaced, read_placed
from cpmn.volume.nifti import check_values, require_whole

AIR_HU = -1024  # lowest value kept: what lies below is padding outside the reconstructed circle, not tissue
COMPRESSION = 2  # of 0 to 3; 3 takes longer for files of the same size
LARGEST_VOXELS = 2_000_000_000  # our choice: 2,000 slices of 1,000 x 1,000; an int16 volume of 4 GB
GRID_TOLERANCE_MM = 1e-3  # our choice: NIfTI stores geometry in float32, about 1e-4 mm at 1 m from the origin
MASK_TOLERANCE_MM = 0.1  # our choice: other tools round the grid of the masks that they write


def read_image(path: Path | str, believed: Believed = "refuse") -> sitk.Image:
    """Read a 3D image file (NIfTI, NRRD, MetaImage), its voxels placed as the file states (see `cpmn.volume.forms`).

    believed : which form of a NIfTI file to take where its two forms differ.

    Raises CpmnError if the file is absent, incomplete, unreadable or not three-dimensional, if a NIfTI file holds
    values that are not numbers, or if what it says of its geometry is absent or contradicts itself; MachineError where
    the machine could not read it.
    """
    if not Path(path).is_file():
        raise CpmnError(f"image file {path} does not exist. Check the path.")
    try:
        _require_size(Path(path))
        check_values(Path(path))
        image = read_placed(Path(path), believed)
    except Unplaced as error:
        raise Unplaced(f"image file {path}: {error.problem}", error.remedy) from error
    except ValueError as error:
        raise CpmnError(f"image file {path}: {error}. Put numbers in their place.") from error
    except (OSError, RuntimeError) as error:
        blame_machine(error, Path(path))
        raise CpmnError(f"image file {path} cannot be read. Is it complete? ({_last_line(error)})") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise CpmnError(f"image file {path} is not a 3D volume with one value per voxel. Give one volume per file.")
    return image


def write_image(image: sitk.Image, path: Path | str) -> None:
    """Write an image atomically, compressed where the format allows, without any free-text metadata.

    `.nii.gz` is compressed by ISA-L: a seventh of ITK's time for a chest CT, and a file 6 % larger.
    """
    clean = sitk.Image(image)
    for key in clean.GetMetaDataKeys():
        clean.EraseMetaData(key)
    with written_atomically(path) as temporary:
        if temporary.name.endswith(".nii.gz"):
            _write_nifti(clean, temporary)
        else:
            sitk.WriteImage(clean, str(temporary), useCompression=True)


def image_like(array: np.ndarray, reference: sitk.Image) -> sitk.Image:
    """Image of `array` (z, y, x) with the spacing, origin and direction of `reference` (same size)."""
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(reference)
    return image


def same_grid(first: sitk.Image, second: sitk.Image, tolerance_mm: float = GRID_TOLERANCE_MM) -> bool:
    """Whether two images have the same size and place every corner voxel within `tolerance_mm` of each other."""
    if first.GetSize() != second.GetSize():
        return False
    corners = [[i * (n - 1) for i, n in zip(corner, first.GetSize(), strict=True)] for corner in np.ndindex(2, 2, 2)]
    shifts = [
        np.subtract(first.TransformIndexToPhysicalPoint(c), second.TransformIndexToPhysicalPoint(c)) for c in corners
    ]
    return bool(np.max(np.linalg.norm(shifts, axis=1)) <= tolerance_mm)


def holds_ids(values: np.ndarray) -> bool:
    """Whether an array holds whole numbers from 0 to 65535 alone."""
    return bool(np.all((values >= 0) & (values <= np.iinfo(np.uint16).max) & (values == np.round(values))))


def turned_like(image: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """`image` with its axes flipped or swapped to the order of those of `reference`; voxels stay where they lie."""
    orient = sitk.DICOMOrientImageFilter()
    return sitk.DICOMOrient(image, orient.GetOrientationFromDirectionCosines(reference.GetDirection()))


def on_grid_of(grid: sitk.Image, image: sitk.Image, tolerance_mm: float = MASK_TOLERANCE_MM) -> sitk.Image | None:
    """`image` with exactly the geometry of `grid`, its axes turned where they differ.

    None if its voxels do not lie where those of `grid` lie, within `tolerance_mm`.
    """
    turned = image if same_grid(image, grid, tolerance_mm) else turned_like(image, grid)
    if not same_grid(turned, grid, tolerance_mm):
        return None
    turned.CopyInformation(grid)
    return turned


def describe_grid(image: sitk.Image) -> str:
    """One line for messages: size in voxels, spacing and origin in mm."""
    size = "x".join(str(n) for n in image.GetSize())
    spacing = "x".join(f"{s:.3g}" for s in image.GetSpacing())
    origin = ", ".join(f"{o:.1f}" for o in image.GetOrigin())
    return f"{size} voxels of {spacing} mm from ({origin})"


def voxel_ml(image: sitk.Image) -> float:
    """Volume of one voxel in mL."""
    return float(np.prod(image.GetSpacing())) / 1000.0


def _require_size(path: Path) -> None:
    """Raise OSError if a header asks for more than `LARGEST_VOXELS`, before any memory is taken for them."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # what reads the voxels says why, or can do without ITK
        return
    if math.prod(reader.GetSize()) * reader.GetNumberOfComponents() > LARGEST_VOXELS:
        raise OSError(f"its header asks for {' x '.join(map(str, reader.GetSize()))} voxels, {LARGEST_VOXELS} at most")


def _write_nifti(image: sitk.Image, path: Path) -> None:
    plain = path.with_suffix("")
    try:
        sitk.WriteImage(image, str(plain))
        require_whole(plain)
        path.write_bytes(igzip.compress(plain.read_bytes(), COMPRESSION, mtime=0))
    finally:
        plain.unlink(missing_ok=True)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
