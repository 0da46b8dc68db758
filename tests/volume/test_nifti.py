"""Files that ITK would read without a word: cut short, damaged, or written onto a full disk."""

import resource
import signal
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.errors import CpmnError
from cpmn.volume.images import image_like, read_image, write_image
from cpmn.volume.nifti import check_values
from cpmn.volume.transforms import read_warp

NOISE = np.random.default_rng(0).integers(-1000, 1000, (40, 16, 16)).astype(np.int16)


@pytest.fixture(params=["scan.nii", "scan.nii.gz", "SCAN.NII.GZ"])
def scan(request, tmp_path):
    path = tmp_path / request.param
    write_image(image_like(NOISE, sitk.GetImageFromArray(NOISE)), tmp_path / request.param.lower())
    (tmp_path / request.param.lower()).rename(path)
    return path


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_a_whole_file_is_read(scan):
    assert np.array_equal(sitk.GetArrayFromImage(read_image(scan)), NOISE)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
def test_a_file_cut_short_is_refused_and_not_filled_with_zeros(scan, share):
    cut(scan, share)
    with pytest.raises(CpmnError, match="Is it complete"):
        read_image(scan)


@pytest.mark.parametrize("damage", ["a flipped bit", "zeros in the middle"])
def test_damaged_compression_is_refused(tmp_path, damage):
    path = tmp_path / "scan.nii.gz"
    write_image(sitk.GetImageFromArray(NOISE), path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1] = bytes([data[middle] ^ 1])
    if damage == "zeros in the middle":
        data[middle : middle + 1000] = bytes(1000)
    path.write_bytes(data)
    with pytest.raises(CpmnError, match="Is it complete"):
        read_image(path)


def test_a_cut_warp_is_refused(tmp_path):
    path = tmp_path / "warp.nii.gz"
    field = np.random.default_rng(0).normal(size=(8, 9, 10, 3)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(field, isVector=True), str(path))
    assert read_warp(path).GetSize() == (10, 9, 8)
    cut(path, 0.7)
    with pytest.raises(CpmnError, match="Run the registration of this patient again"):
        read_warp(path)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_files_of_another_writer_are_known_whole_and_cut(tmp_path, kind, order):
    path = tmp_path / "other.nii"
    header = kind.header_class(endianness=order)
    kind(NOISE, np.eye(4), header).to_filename(path)
    check_values(path)
    cut(path, 0.99)
    with pytest.raises(OSError, match="bytes of"):
        check_values(path)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused_and_not_taken_for_water(tmp_path, kind, order, number, bad):
    path = tmp_path / "other.nii.gz"
    values = np.full((60, 70, 80), -1000, number)
    kind(values, np.eye(4), kind.header_class(endianness=order)).to_filename(path)
    check_values(path)
    values[59, 69, 79] = bad  # beyond the first block that is looked at
    kind(values, np.eye(4), kind.header_class(endianness=order)).to_filename(path)
    with pytest.raises(ValueError, match="not numbers"):
        check_values(path)


def test_uncompressed_content_under_a_compressed_name_is_no_damage(tmp_path):
    write_image(sitk.GetImageFromArray(NOISE), tmp_path / "plain.nii")
    path = (tmp_path / "plain.nii").rename(tmp_path / "plain.nii.gz")
    check_values(path)


WRITING = """
import sys
import SimpleITK as sitk
from cpmn.volume.images import write_image
write_image(sitk.Image(64, 64, 64, sitk.sitkInt16), sys.argv[1])
"""


def test_a_file_that_could_not_be_written_to_its_end_is_not_there(tmp_path):
    """A limit to the size of files stands for the full disk: ITK writes what fits and says nothing."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    path = tmp_path / "scan.nii.gz"
    done = subprocess.run(
        [sys.executable, "-c", WRITING, path], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "of 52" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_header_of_another_length_is_refused(tmp_path):
    """Found by the bench of faults: the length stands in the first bytes, and the magic still says NIfTI."""
    path = tmp_path / "scan.nii"
    write_image(image_like(NOISE, sitk.GetImageFromArray(NOISE)), path)
    content = bytearray(path.read_bytes())
    content[:4] = (-(2**31)).to_bytes(4, "little", signed=True)
    path.write_bytes(content)
    with pytest.raises(CpmnError, match=r"sizeof_hdr|cannot be read"):
        read_image(path)
