"""What files say of their geometry: read as nibabel reads it, or refused; nothing is made up."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import aff2axcodes

from cpmn.errors import CpmnError
from cpmn.volume.forms import RAS_TO_LPS, states_a_place
from cpmn.volume.images import read_image, write_image

VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
SIZES = (0.7, 0.8, 5.0)


def affine(sizes=SIZES, *, flip="", turn=0.0, shear=0.0, move=(1.0, 2.0, 3.0)) -> np.ndarray:
    """Index to world (RAS): turned about z, sheared along x by y (both in degrees), axes of `flip` mirrored."""
    turn, shear = np.deg2rad((turn, shear))
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    sheared = np.array([[1, np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    result = np.eye(4)
    result[:3, :3] = np.diag([-1.0 if axis in flip else 1.0 for axis in "xyz"]) @ rotation @ sheared * np.array(sizes)
    result[:3, 3] = move
    return result


def nifti(path, *, s=None, q=None, s_code=1, q_code=1, size=VOXELS.shape, order="<", **fields):
    """A NIfTI file with the forms given, and header fields as stated; no code where there is no form."""
    header = nibabel.Nifti1Header(endianness=order)
    voxels = np.resize(VOXELS, size)
    header.set_data_shape(size)
    header.set_data_dtype(np.int16)
    header["pixdim"][:4] = (1, *SIZES)
    header["magic"], header["vox_offset"] = b"n+1", 352
    if q is not None:
        header.set_qform(q, q_code)
    if s is not None:
        header.set_sform(s, s_code)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + bytes(4) + voxels.astype(f"{order}i2").tobytes(order="F"))
    return path


def place(image: sitk.Image) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    result[:3, 3] = image.GetOrigin()
    return RAS_TO_LPS @ result


READ = {
    "both forms equal": {"s": affine(turn=20), "q": affine(turn=20)},
    "sform alone": {"s": affine(flip="xy")},
    "sform alone, no voxel size beside it": {"s": affine(), "pixdim": [1, 0, 0, 0, 0, 0, 0, 0]},
    "qform alone": {"q": affine(flip="x", turn=-8)},
    "qform alone, of a mirror image": {"q": affine(flip="z")},
    "neither form (TotalSegmentator 509: which axes are these?)": {},
    "big endian": {"s": affine(turn=20), "order": ">"},
    "qfac 0 is 1 (nifti1.h)": {"q": affine(), "pixdim": [0, *SIZES, 0, 0, 0, 0]},
    "sizes with a sign (SimpleITK of ITK 1484)": {"s": affine(), "pixdim": [1, 0.7, -0.8, 5, 0, 0, 0, 0]},
    "forms that differ by rounding alone": {"s": affine(turn=20), "q": affine(turn=20, move=(1.1, 2, 3))},
    "template's and scanner's codes on one place": {"s": affine(), "q": affine(), "s_code": 4},
}


@pytest.mark.parametrize("name", READ)
def test_geometry_is_what_nibabel_reads(tmp_path, name):
    path = nifti(tmp_path / "scan.nii", **READ[name])
    image = read_image(path)
    assert np.allclose(place(image), np.asarray(nibabel.Nifti1Image.from_filename(path).affine), atol=1e-5)
    assert np.array_equal(sitk.GetArrayFromImage(image), VOXELS.T)


@pytest.mark.parametrize(("unit", "mm"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_units_of_length_are_those_of_the_header(tmp_path, unit, mm):
    sizes = np.array(SIZES) / mm
    path = nifti(tmp_path / "scan.nii", s=affine(sizes), pixdim=[1, *sizes, 0, 0, 0, 0], xyzt_units=unit)
    assert read_image(path).GetSpacing() == pytest.approx(SIZES, rel=1e-5)
    assert read_image(path).GetOrigin() == pytest.approx((-1 * mm, -2 * mm, 3 * mm), rel=1e-5)


def test_a_unit_of_time_of_no_meaning_is_nobodys_affair(tmp_path):
    path = nifti(tmp_path / "scan.nii", s=affine(), xyzt_units=2 + 56)
    assert read_image(path).GetSpacing() == pytest.approx(SIZES, rel=1e-5)


REFUSED = {
    "a unit of length of no meaning": ({"s": affine(), "xyzt_units": 4}, "unit of its voxel sizes has code 4"),
    # ANTs 500, spinalcordtoolbox 2106: programs take the one or the other, and none says so
    "mirrored": ({"s": affine(), "q": affine(flip="x")}, r"up to 4\.2 mm apart, one a mirror image of the other"),
    "turned": ({"s": affine(), "q": affine(turn=45)}, r"up to 2\.9 mm apart"),
    "moved": ({"s": affine(), "q": affine(move=(62, 2, 3))}, r"up to 61\.0 mm apart"),
    "template and scanner (ANTsPy 356)": (
        {"s": affine(move=(-90, -126, -72)), "s_code": 4, "q": affine()},
        r"sform \(code 4\) and its qform \(code 1\)",
    ),
    "no voxel size": ({"pixdim": [1, 0, 0, 0, 0, 0, 0, 0]}, r"states no voxel size \(pixdim 0 x 0 x 0\)"),
    "no slice thickness": ({"q": affine(), "pixdim": [1, 0.7, 0.8, 0, 0, 0, 0, 0]}, r"pixdim 0\.7 x 0\.8 x 0\)"),
    "srow of directions alone (ITK 3514)": (
        {"s": affine((1, 1, 1)), "pixdim": [1, *SIZES, 0, 0, 0, 0]},
        r"sform has voxels of 1 x 1 x 1 mm, its pixdim says 0\.7 x 0\.8 x 5",
    ),
    "an empty sform": ({"s": np.zeros((4, 4))}, "sform is no geometry"),
    "an sform of no numbers": ({"s": affine(), "srow_x": [np.nan, 0, 0, 0]}, "sform is no geometry"),
    "sheared by 30 degrees": ({"s": affine(shear=30)}, r"sheared by 30\.00 degrees"),
    "values in the header": ({"s": affine(), "vox_offset": 0}, r"begin at byte 0 \(vox_offset\), at least 352"),
    "values between two bytes": ({"s": affine(), "vox_offset": 352.5}, r"begin at byte 352\.5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_contradicts_itself_or_is_absent_is_refused(tmp_path, name):
    settings, message = REFUSED[name]
    with pytest.raises(CpmnError, match=message):
        read_image(nifti(tmp_path / "scan.nii", **settings))


@pytest.mark.parametrize(("believed", "codes"), [("sform", ("R", "A", "S")), ("qform", ("L", "A", "S"))])
def test_a_person_may_say_which_form_is_right(tmp_path, believed, codes):
    path = nifti(tmp_path / "scan.nii", s=affine(), q=affine(flip="x"))
    assert aff2axcodes(place(read_image(path, believed))) == codes


@pytest.mark.parametrize(("forms", "order"), [("s", "<"), ("sq", "<"), ("s", ">")])
def test_a_tenth_of_a_degree_of_shear_is_taken_off(tmp_path, forms, order):
    """nnU-Net 756, nnDetection 24, TotalSegmentator 461: ITK refuses such files, `forms` of which nibabel reads."""
    sheared = affine(shear=0.1)
    qform = sheared if "q" in forms else None
    image = read_image(nifti(tmp_path / "scan.nii", s=sheared, q=qform, size=(200, 200, 10), order=order))
    assert np.array_equal(sitk.GetArrayFromImage(image), np.resize(VOXELS, (200, 200, 10)).T)
    direction = np.reshape(image.GetDirection(), (3, 3))
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    ends = np.array(list(np.ndindex(2, 2, 2))) * (199, 199, 9)
    moved = (np.c_[ends, np.ones(8)] @ (place(image) - sheared).T)[:, :3]
    assert 0.01 < np.linalg.norm(moved, axis=1).max() < 0.35  # half a voxel
    assert image.GetPixelID() == sitk.sitkInt16


@pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd"])
def test_other_formats_are_straightened_or_refused_too(tmp_path, name):
    image = sitk.GetImageFromArray(np.zeros((6, 200, 200), np.int16))
    image.SetSpacing(SIZES)
    for shear, fine in ((0.1, True), (3.0, False)):
        direction = affine((1, 1, 1), shear=shear)[:3, :3]
        image.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(image, str(tmp_path / name))
        if fine:
            read = np.reshape(read_image(tmp_path / name).GetDirection(), (3, 3))
            assert np.allclose(read.T @ read, np.eye(3), atol=1e-12)
        else:
            with pytest.raises(CpmnError, match=r"sheared by 3\.00 degrees"):
                read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "line"),
    [("scan.mha", b"ElementSpacing"), ("scan.nrrd", b"space directions")],
)
def test_a_header_without_voxel_sizes_is_refused(tmp_path, name, line):
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing(SIZES)
    sitk.WriteImage(image, str(tmp_path / name))
    assert read_image(tmp_path / name).GetSpacing() == SIZES
    lines = (tmp_path / name).read_bytes().split(b"\n")
    (tmp_path / name).write_bytes(b"\n".join(text for text in lines if not text.startswith(line)))
    with pytest.raises(CpmnError, match="states no voxel size"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        (b'space units: "mm" "mm" "mm"', True),
        (b'space units: "" "" "millimeters"', True),
        (b'space units: "cm" "cm" "cm"', False),
        (b'space units:"mm" "mm" "microns"\r', False),
        (b'units: "mm" "mm" "m"', False),
        (b"units: cm cm cm", False),
        (b'units:="a note, no field"', True),
    ],
)
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.nhdr"])
def test_a_nrrd_file_in_another_unit_than_mm_is_refused(tmp_path, name, line, fine):
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing(SIZES)
    sitk.WriteImage(image, str(tmp_path / name))
    assert read_image(tmp_path / name).GetSpacing() == SIZES
    before, mark, rest = (tmp_path / name).read_bytes().partition(b"\nkinds:")
    (tmp_path / name).write_bytes(before + b"\n" + line + mark + rest)
    if fine:
        assert read_image(tmp_path / name).GetSpacing() == SIZES
    else:
        with pytest.raises(CpmnError, match=r"states lengths in '(cm|microns|m)'\. Write it again in mm"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz", "mask.nrrd", "mask.mha"])
def test_files_of_our_own_read_back_as_they_were(tmp_path, name):
    image = sitk.GetImageFromArray(np.zeros((30, 40, 50), np.uint8))
    image.SetSpacing((0.6835937, 0.6835937, 1.25))
    turned = affine((1, 1, 1), turn=33.3)[:3, :3] @ affine((1, 1, 1), flip="xy")[:3, :3]
    image.SetDirection(turned.ravel().tolist())
    image.SetOrigin((-171.3, 1203.7, -990.1))
    write_image(image, tmp_path / name)
    assert np.allclose(place(read_image(tmp_path / name)), place(image), atol=1e-3)
    assert states_a_place(tmp_path / name)


@pytest.mark.parametrize("degrees", [0.001, 0.01, 0.03, 0.05, 0.1, 0.5, -0.02])
def test_a_chest_that_leans_a_little_reads_back_as_it_was(tmp_path, degrees):
    """A qform's float32 cannot say so small a turn away from half a turn, as LPS is from RAS; the sform can."""
    image = sitk.Image([512, 512, 3], sitk.sitkUInt8)
    image.SetSpacing((0.84, 0.84, 5.0))
    image.SetDirection(affine((1, 1, 1), turn=degrees)[:3, :3].ravel().tolist())
    image.SetOrigin((-210.0, -203.0, 41.0))
    write_image(image, tmp_path / "scan.nii.gz")
    assert np.allclose(place(read_image(tmp_path / "scan.nii.gz")), place(image), atol=1e-4)


@pytest.mark.parametrize("change", [{"turn": 0.3}, {"flip": "z", "turn": 0.02}, {"turn": 0.02, "move": (1, 2, 9)}])
def test_what_a_qform_can_say_it_must_say(tmp_path, change):
    sform, qform = affine(flip="xy", turn=0.02), affine(**({"flip": "xy"} | change))
    with pytest.raises(CpmnError, match="place voxels up to"):
        read_image(nifti(tmp_path / "scan.nii", s=sform, q=qform, size=(512, 512, 3)))


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.nhdr", "scan.mha", "scan.mhd"])
def test_what_itk_writes_says_how_its_axes_lie(tmp_path, name):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / name))
    assert states_a_place(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "line", "instead"),
    [
        ("scan.nrrd", b"space:", b"space: 3D-right-handed"),
        ("scan.nrrd", b"space:", b"space dimension: 3"),
        ("scan.nrrd", b"space", b"spacings: 0.7 0.8 5"),
        ("scan.mha", b"TransformMatrix", b""),
    ],
)
def test_a_header_that_says_nothing_of_its_axes_is_known(tmp_path, name, line, instead):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / name))
    lines = (tmp_path / name).read_bytes().split(b"\n")
    at = next(index for index, text in enumerate(lines) if text.startswith(line))
    kept = [text for text in lines if not text.startswith(line)]
    (tmp_path / name).write_bytes(b"\n".join([*kept[:at], *filter(None, [instead]), *kept[at:]]))
    read_image(tmp_path / name)
    assert not states_a_place(tmp_path / name)


def test_a_file_without_forms_is_known(tmp_path):
    assert not states_a_place(nifti(tmp_path / "scan.nii"))
    assert states_a_place(nifti(tmp_path / "scan.nii", q=affine()))
