"""Where a file says that its voxels lie: stated geometry is taken as the format's rules say, and none is made up.

ITK reads a NIfTI file's two forms by rules of its own, gives 1 mm where nothing is stated, and fails on the least
shear. nibabel is the reference here: the sform if it has a code, else the qform if that has one, else the voxel sizes
alone (nifti1.h, methods 3, 2 and 1). Forms that place the voxels differently are refused: only a person can know.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
import SimpleITK as sitk
from isal.igzip import IGzipFile
from scipy import linalg

from cpmn.errors import CpmnError
from cpmn.imports import without

if TYPE_CHECKING:  # loaded only where a NIfTI file is read
    from nibabel import Nifti1Header

Believed = Literal["refuse", "sform", "qform"]

ROUNDING_MM = 1e-3  # our choice: what ITK and nibabel make of the same float32
HALF_A_VOXEL = 0.5  # our choice: shears and differences that move no voxel by more, of its smallest side, are rounding
SIZE_TOLERANCE = 0.01  # our choice, relative: writers round voxel sizes to three or four digits
TWO_STEPS = 2 * float(np.finfo(np.float32).epsneg)  # of a float32 just below 1
SPACING = re.compile(rb"(spacings|space directions|ElementSpacing|ElementSize)\s*[:=](?!.*(nan|none.*none))", re.I)
PLACE = {
    True: (
        re.compile(rb"space\s*:\s*(ras|las|lps|(right|left)-(anterior|posterior)-superior)\s*$", re.I),
        re.compile(rb"space directions\s*:", re.I),
    ),
    False: (re.compile(rb"(TransformMatrix|Rotation|Orientation)\s*=", re.I),),
}
"""Lines that say how the axes lie in the patient, in a NRRD (True) or MetaImage header."""
UNITS = re.compile(rb"(?:space )?units\s*:(?!=)\s*(.*)", re.I)  # of lengths in a NRRD header, one for each axis
IN_MM = (
    b"mm",
    b"millimeter",
    b"millimeters",
    b"millimetre",
    b"millimetres",
    b"",
    b"none",
    b"???",
)  # NRRD's for unknown
LONGEST_HEADER = 1000  # lines
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SMALLEST_OFFSET = {348: 352, 540: 544}  # by the header's size: four bytes follow it (nifti1.h, nifti2.h)
LENGTH_BITS = 0b111  # of xyzt_units (nifti1.h); the others are the unit of time
MM_OF_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # not stated, m, mm, um
WRITE_AGAIN = "Write it again with its geometry."
KEEP_ONE = (
    "Keep the form that is right and set the other's code to 0 (nibabel: image.set_qform(None, 0)). For scans, "
    "convert.nifti_forms names it for the whole cohort."
)


class Unplaced(CpmnError):
    """What a file says of its geometry is absent, contradicts itself, or is no geometry: `problem` and `remedy`."""

    def __init__(self, problem: str, remedy: str):
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}. {remedy}")


def read_placed(path: Path, believed: Believed = "refuse") -> sitk.Image:
    """`path` read by ITK, placed as the file says, with an orthonormal direction.

    believed : which form of a NIfTI file to take where its two forms differ.

    Raises Unplaced if the file states no voxel size, if its forms differ and none is to be believed, or for more
    shear than half a voxel; RuntimeError as ITK, OSError for a file that is none.
    """
    if not _is_nifti(path):
        _require_spacing(path)
        image = sitk.ReadImage(str(path))
        return _placed(image, _affine_of(image)) if image.GetDimension() == 3 else image
    header = nifti_header(path)
    image = _read_voxels(path)
    if image.GetDimension() != 3:
        return image
    affine = RAS_TO_LPS @ _to_mm(header) @ _affine(header, believed)
    agree = _largest_gap(affine, _affine_of(image), image.GetSize()) < ROUNDING_MM
    return image if agree else _placed(image, affine)


def nifti_header(path: Path) -> "Nifti1Header":
    """Header of a NIfTI file (version 1 or 2, compressed or not) as stored: nothing mended.

    Raises OSError if it is none, or if its values would begin inside the header.
    """
    nibabel = _nibabel()
    with _opened(path) as stream:
        start = stream.read(540)
        stream.seek(0)
        kinds = (nibabel.Nifti1Header, nibabel.Nifti2Header)
        kind = next((kind for kind in kinds if kind.may_contain_header(start)), None)
        if kind is None:
            raise OSError("it is no NIfTI file")
        header = kind.from_fileobj(stream, check=False)
    begins, size = float(header["vox_offset"]), int(header["sizeof_hdr"])
    if size not in SMALLEST_OFFSET:
        raise OSError(f"its header says that it is {size} bytes long (sizeof_hdr), 348 or 540 are possible")
    smallest = SMALLEST_OFFSET[size]
    if not smallest <= begins < np.inf or begins != np.floor(begins):
        raise OSError(f"its values begin at byte {begins:g} (vox_offset), at least {smallest} is possible")
    return header


def _nibabel() -> ModuleType:
    """The library, loaded without what it reads DICOM with: that takes 0.15 s of each job, and is not used."""
    with without(("pydicom",)):
        import nibabel
    return nibabel


def states_a_place(path: Path) -> bool:
    """Whether an image file says how its axes lie in the patient: a NIfTI file may leave both form codes at 0, NRRD and
    MetaImage may say nothing of it."""
    if _is_nifti(path):
        return max(_codes(nifti_header(path))) > 0
    lines = list(_header_lines(path))
    return all(any(stated.match(line) for line in lines) for stated in PLACE[path.suffix.lower() in (".nrrd", ".nhdr")])


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _codes(header: "Nifti1Header") -> tuple[int, int]:
    """Codes of the sform and of the qform; 0 is 'not stated'."""
    return int(header["sform_code"]), int(header["qform_code"])


def _affine(header: "Nifti1Header", believed: Believed) -> np.ndarray:
    """Index to world (RAS, mm), 4 x 4, by nibabel's rule; `believed` decides where the forms differ."""
    s_code, q_code = _codes(header)
    sform = np.asarray(header.get_sform()) if s_code > 0 else None
    qform = _qform(header) if q_code > 0 else None
    if sform is None:
        return _sized(header).get_base_affine() if qform is None else qform
    _require_geometry(sform)
    if qform is None:
        _require_same_sizes(sform, header)
    elif (gap := _largest_gap(sform, qform, header.get_data_shape()[:3])) > _half_a_voxel(sform):
        if _rounds_to_qform(sform, header):
            return sform
        if believed == "refuse":
            raise _differ(header, sform, qform, gap)
        return qform if believed == "qform" else sform
    return sform


def _rounds_to_qform(sform: np.ndarray, header: "Nifti1Header") -> bool:
    """Whether the qform is the sform as far as its numbers can say.

    Its float32 hold no fourth number: axes that lean by 0.05 degrees from half a turn, as LPS is from RAS, are rounded
    to none, which moves a corner of a chest by half a millimetre.
    """
    other = header.copy()
    other.set_qform(sform)
    stated, rounded = (np.array([float(one[f"quatern_{axis}"]) for axis in "bcd"]) for one in (header, other))
    sizes = np.allclose(np.abs(header["pixdim"][1:4]), other["pixdim"][1:4], rtol=SIZE_TOLERANCE)
    handed = (header["pixdim"][0] < 0) == (other["pixdim"][0] < 0)
    origin = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    moved = np.abs(origin - sform[:3, 3]).max()
    return bool(sizes and handed and moved < _half_a_voxel(sform) and np.abs(stated - rounded).max() <= TWO_STEPS)


def _to_mm(header: "Nifti1Header") -> np.ndarray:
    """From the header's unit of length; mm where it states none. Raises Unplaced for a unit that NIfTI does not know.

    nibabel leaves that to its user, and fails on an unknown unit of length or time.
    """
    code = int(header["xyzt_units"]) & LENGTH_BITS
    if code not in MM_OF_UNIT:
        raise Unplaced(f"the unit of its voxel sizes has code {code}, which NIfTI does not know", WRITE_AGAIN)
    scale = MM_OF_UNIT[code]
    return np.diag([scale, scale, scale, 1.0])


def _qform(header: "Nifti1Header") -> np.ndarray:
    sized = _sized(header)
    if sized["pixdim"][0] not in (-1, 1):
        sized["pixdim"][0] = 1  # nifti1.h: qfac 0 is taken for 1
    try:
        return np.asarray(sized.get_qform())
    except ValueError as error:  # nibabel's, for quaternions that are none
        raise Unplaced(f"its qform is no rotation ({error})", WRITE_AGAIN) from error


def _sized(header: "Nifti1Header") -> "Nifti1Header":
    """The header, if it states voxel sizes. nibabel and ITK would take 1 mm in their place."""
    sizes = np.abs(header["pixdim"][1:4])  # nifti1.h: the sign of pixdim has no meaning
    if not np.isfinite(sizes).all() or not sizes.all():
        stated = _listed(header["pixdim"][1:4])
        raise Unplaced(f"it states no voxel size (pixdim {stated})", WRITE_AGAIN)
    header = header.copy()
    header["pixdim"][1:4] = sizes
    return header


def _require_geometry(affine: np.ndarray) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise Unplaced(f"its sform is no geometry ({'; '.join(map(_listed, affine[:3]))})", WRITE_AGAIN)


def _require_same_sizes(sform: np.ndarray, header: "Nifti1Header") -> None:
    """Raise Unplaced where pixdim is stated and is not that of the sform: with no qform it is all there is to compare.

    Programs that write only direction cosines into srow are known (ITK issue 3514: 1.0 beside pixdim 0.866).
    """
    stated, sizes = np.abs(header["pixdim"][1:4].astype(float)), np.linalg.norm(sform[:3, :3], axis=0)
    if np.isfinite(stated).all() and stated.all() and np.abs(stated / sizes - 1).max() > SIZE_TOLERANCE:
        raise Unplaced(
            f"its sform has voxels of {_listed(sizes)} mm, its pixdim says {_listed(stated)}",
            "Correct the one that is wrong.",
        )


def _differ(header: "Nifti1Header", sform: np.ndarray, qform: np.ndarray, gap: float) -> Unplaced:
    s_code, q_code = _codes(header)
    mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
    return Unplaced(
        f"its sform (code {s_code}) and its qform (code {q_code}) place voxels up to {gap:.1f} mm apart"
        f"{', one a mirror image of the other' if mirrored else ''}",
        KEEP_ONE,
    )


def _largest_gap(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the places that two affines give to one corner of the volume."""
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape))], float)
    return float(np.linalg.norm(corners @ (first - second).T, axis=1).max())


def _half_a_voxel(affine: np.ndarray) -> float:
    return HALF_A_VOXEL * float(np.linalg.norm(affine[:3, :3], axis=0).min())


def _placed(image: sitk.Image, affine: np.ndarray) -> sitk.Image:
    """`image` placed by `affine` (index to world, LPS, mm): the nearest one without shear, about the image's centre.

    The nearest rotation is the orthogonal factor of the polar decomposition (Higham 1986). Raises Unplaced if that
    moves a corner by more than half a voxel.
    """
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    direction = np.asarray(linalg.polar(affine[:3, :3] / sizes)[0])
    middle = (np.array(image.GetSize()) - 1) / 2
    straight = np.eye(4)
    straight[:3, :3] = direction * sizes
    straight[:3, 3] = affine[:3, 3] + (affine[:3, :3] - straight[:3, :3]) @ middle
    if (gap := _largest_gap(affine, straight, image.GetSize())) > _half_a_voxel(affine):
        raise Unplaced(
            f"its axes are sheared by {_shear_degrees(affine[:3, :3] / sizes):.2f} degrees, which moves voxels by "
            f"{gap:.1f} mm",
            "Resample it onto straight axes.",
        )
    image.SetSpacing(sizes.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(straight[:3, 3].tolist())
    return image


def _affine_of(image: sitk.Image) -> np.ndarray:
    """Index to world (LPS, mm), 4 x 4, of a 3D image."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


def _shear_degrees(direction: np.ndarray) -> float:
    cosines = direction.T @ direction
    return float(np.rad2deg(np.arcsin(np.abs(cosines[~np.eye(3, dtype=bool)]).max())))


def _require_spacing(path: Path) -> None:
    """Raise Unplaced if a NRRD or MetaImage header states no voxel sizes, or not in mm: ITK would take 1 mm, or mm."""
    lines = list(_header_lines(path))
    if not any(SPACING.match(line) for line in lines):
        raise Unplaced("its header states no voxel size", WRITE_AGAIN)
    for stated in filter(None, map(UNITS.match, lines)):
        units = re.findall(rb'"([^"]*)"', stated[1]) or stated[1].split()
        if other := [unit.decode(errors="replace") for unit in units if unit.strip().lower() not in IN_MM]:
            raise Unplaced(f"its header states lengths in '{other[0]}'", "Write it again in mm.")


def _header_lines(path: Path) -> Iterator[bytes]:
    """Lines of the header, which is text, of a NRRD or MetaImage file."""
    with path.open("rb") as stream:
        for line in islice(stream, LONGEST_HEADER):
            if not line.strip() or line.startswith(b"ElementDataFile"):
                return
            yield line


def _read_voxels(path: Path) -> sitk.Image:
    """A NIfTI file's voxels; their place is another's affair. ITK refuses those of a sheared sform."""
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        if "orthonormal" not in str(error):
            raise
    array = np.asanyarray(_nibabel().load(path).dataobj)
    return sitk.GetImageFromArray(array.astype(array.dtype.newbyteorder("="), copy=False).T)  # it takes no other order


@contextmanager
def _opened(path: Path) -> Iterator:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    with IGzipFile(path) if zipped else path.open("rb") as stream:
        yield stream


def _listed(values) -> str:
    return " x ".join(f"{float(value):.4g}" for value in values)
