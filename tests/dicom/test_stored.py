"""What stored bits mean: known HU, written in every way that scanners and archives write them, and two other tools."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from openjpeg.utils import encode_array
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.headers import read_file_set
from cpmn.dicom.pixels import read_volume
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.series import group_series

SIDE, SLICES = 32, 12
HU = np.array([np.arange(SIDE * SIDE).reshape(SIDE, SIDE) * 2 - 1000 + i for i in range(SLICES)])
RIM = np.zeros((SIDE, SIDE), bool)
RIM[:6, :6] = RIM[-3:, -3:] = True  # joined to corners, as what lies outside the scanner's circle is
PATCH = np.zeros((SIDE, SIDE), bool)
PATCH[15:18, 15:18] = True

SIGNED = {"PixelRepresentation": 1, "RescaleIntercept": 0}
BITS_12 = {"BitsStored": 12, "HighBit": 11}
OVERLAY = {0x60000100: ("US", 16), 0x60000102: ("US", 12)}  # one bit of the pixels, the thirteenth

Pixels = Callable[[int], np.ndarray]


def unsigned(index: int) -> np.ndarray:
    return (HU[index] + 1024).astype(np.uint16)


def signed(index: int) -> np.ndarray:
    return HU[index].astype(np.int16)


def where(mask: np.ndarray, value: int, pixels: Pixels) -> Pixels:
    return lambda index: np.where(mask, np.int64(value).astype(pixels(0).dtype), pixels(index))


def marked(mask: np.ndarray, bit: int, pixels: Pixels) -> Pixels:
    return lambda index: pixels(index) | np.where(mask, 1 << bit, 0).astype(pixels(0).dtype)


class Written:
    """A series with the pixels given; `extra` are tags as {tag: (representation, value)}."""

    def __init__(self, write_series):
        self.write = write_series

    def __call__(self, pixels: Pixels, extra=None, j2k: int = 0, **tags) -> Path:
        data = {"Rows": SIDE, "Columns": SIDE}
        folder = self.write(each=lambda i: data | {"PixelData": pixels(i).tobytes(), "InstanceNumber": i + 1}, **tags)
        for path in folder.iterdir():
            self._amend(path, pixels, extra or {}, j2k)
        return folder

    def _amend(self, path: Path, pixels: Pixels, extra: dict, j2k: int) -> None:
        dataset = dcmread(path)
        for tag, (representation, value) in extra.items():
            dataset.add_new(tag, representation, value)
        if j2k:
            index = int(dataset.InstanceNumber) - 1
            dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
            dataset.PixelData = encapsulate([bytes(encode_array(pixels(index), bits_stored=j2k))])
            dataset["PixelData"].VR = "OB"
        dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def written(write_series) -> Written:
    return Written(write_series)


def ours(folder: Path) -> np.ndarray:
    (series,) = group_series(read_file_set(folder).headers, ConvertConfig())
    assert series.geometry is not None, series.problems
    return read_volume(series.slices, series.geometry).hu


def by_gdcm(folder: Path) -> np.ndarray:
    found = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    slices = [sitk.GetArrayFromImage(sitk.ReadImage(name, imageIO="GDCMImageIO"))[0] for name in found]
    return np.array(slices)


def by_dcm2niix(folder: Path) -> np.ndarray:
    if not shutil.which("dcm2niix"):
        pytest.skip("dcm2niix is not installed: apt-get install dcm2niix")
    output = folder.parent / "nifti"
    output.mkdir()
    subprocess.run(["dcm2niix", "-z", "n", "-f", "scan", "-o", output, folder], check=True, capture_output=True)
    return np.asarray(nibabel.Nifti1Image.from_filename(output / "scan.nii").dataobj).T[:, ::-1]


ALIKE = {  # three readers, one result
    "unsigned": {"pixels": unsigned},
    "signed": {"pixels": signed, **SIGNED},
    "12 of 16 bits": {"pixels": unsigned, **BITS_12},
    "an overlay in the bit above (fo-dicom 138)": {"pixels": marked(RIM, 12, unsigned), "extra": OVERLAY, **BITS_12},
    "anything in the bits above (vtk-dicom 134)": {"pixels": marked(PATCH, 15, unsigned), **BITS_12},
    "all bits said to be stored, the 12th the highest": {"pixels": unsigned, "BitsStored": 16, "HighBit": 11},
    "the same, signed": {"pixels": signed, "BitsStored": 16, "HighBit": 11, **SIGNED},
    "12 bits said to be the upper ones, and are the lower": {"pixels": unsigned, "BitsStored": 12, "HighBit": 15},
    "unsigned codestream, signed header": {
        "pixels": lambda i: signed(i).view(np.uint16),
        "j2k": 16,
        **SIGNED,
    },
    "codestream of 12 bits, header of 16 (pydicom 2073)": {"pixels": unsigned, "j2k": 12},
    "codestream of 16 bits, header of 12 (pydicom 693)": {"pixels": unsigned, "j2k": 16, **BITS_12},
}


@pytest.mark.parametrize("name", ALIKE)
def test_hu_are_exact_and_those_of_gdcm_and_dcm2niix(written, name):
    folder = written(**ALIKE[name])
    assert np.array_equal(ours(folder), HU)
    assert np.array_equal(by_gdcm(folder), HU)
    assert np.array_equal(by_dcm2niix(folder), HU)


BETTER = {  # what one of the others, or both, read wrongly: the true HU are known
    "12 signed bits (dcm2niix 688, dicom2nifti 13)": {"pixels": signed, **SIGNED, **BITS_12},
    "12 signed bits, not extended": {"pixels": lambda i: signed(i) & 0xFFF, **SIGNED, **BITS_12},
    "13 signed bits in an unsigned codestream (pydicom 1149)": {
        "pixels": lambda i: signed(i).view(np.uint16) & 0x1FFF,
        "j2k": 13,
        **SIGNED,
        "BitsStored": 13,
        "HighBit": 12,
    },
    "12 values in the upper bits": {"pixels": lambda i: unsigned(i) << 4, "BitsStored": 12, "HighBit": 15},
    "an overlay above HighBit, all bits said to be stored": {
        "pixels": marked(PATCH, 12, unsigned),
        "extra": OVERLAY,
        "BitsStored": 16,
        "HighBit": 11,
    },
    "signed codestream, unsigned header": {"pixels": signed, "j2k": 16, "RescaleIntercept": 0},
}


@pytest.mark.parametrize("name", BETTER)
def test_hu_are_exact_where_other_tools_err(written, name):
    folder = written(**BETTER[name])
    assert np.array_equal(ours(folder), HU)
    assert not (np.array_equal(by_gdcm(folder), HU) and np.array_equal(by_dcm2niix(folder), HU))


PADDED = {
    "unsigned 63536 in 16 bits": ({"pixels": where(RIM, 63536, unsigned)}, ("US", 63536), RIM),
    "63536 above 12 stored bits": ({"pixels": where(RIM, 63536, unsigned), **BITS_12}, ("US", 63536), RIM),
    "-3024 above 12 stored bits": ({"pixels": where(RIM, -3024, signed), **SIGNED, **BITS_12}, ("SS", -3024), RIM),
    "-2000, stated as unsigned (dcm4che 1368)": ({"pixels": where(RIM, -2000, signed), **SIGNED}, ("US", 63536), RIM),
    "brighter than metal": ({"pixels": where(RIM | PATCH, 32767, signed), **SIGNED}, ("SS", 32767), RIM | PATCH),
    "0 HU, outside the circle alone": ({"pixels": where(RIM | PATCH, 0, signed), **SIGNED}, ("SS", 0), RIM),
}


@pytest.mark.parametrize("name", PADDED)
def test_padding_is_air(written, name):
    settings, stated, air = PADDED[name]
    hu = ours(written(extra={0x00280120: stated}, **settings))
    assert (hu[:, air] == -1024).all()
    assert np.array_equal(hu[:, ~(RIM | PATCH)], HU[:, ~(RIM | PATCH)])
    assert (hu[:, PATCH & ~air] > -1000).all()


def test_a_range_of_padding_is_air(written):
    pixels = marked(RIM, 15, lambda index: unsigned(index) // 20)  # 32768 and more
    folder = written(pixels, extra={0x00280120: ("US", 40000), 0x00280121: ("US", 32768)})
    assert (ours(folder)[:, RIM] == -1024).all()


def test_water_stays_water_where_padding_is_said_to_be_0(written):
    folder = written(signed, extra={0x00280120: ("SS", 0)}, **SIGNED)
    assert np.array_equal(ours(folder), HU)
    assert (HU == 0).any()


UNKNOWABLE = {
    "signed codestream of 12 bits, unsigned header": (
        {"pixels": signed, "j2k": 12, "RescaleIntercept": 0, **BITS_12},
        "the compressed pixels are signed and PixelRepresentation says that they are not",
    ),
    "bits above HighBit, stored and no overlay": (
        {"pixels": marked(PATCH, 13, unsigned), "BitsStored": 16, "HighBit": 11},
        "BitsStored is 16 and HighBit is 11, and the pixels use bits of both readings",
    ),
    "upper and lower bits in use": (
        {"pixels": marked(PATCH, 13, unsigned), "BitsStored": 12, "HighBit": 15},
        "BitsStored is 12 and HighBit is 15",
    ),
}


@pytest.mark.parametrize("name", UNKNOWABLE)
def test_what_nobody_can_know_is_refused(written, name):
    settings, message = UNKNOWABLE[name]
    with pytest.raises(SeriesProblem, match=message):
        ours(written(**settings))


@pytest.mark.parametrize("value", [None, [15, 15]])
def test_a_high_bit_that_is_no_single_number_is_the_usual_one(written, value):
    assert np.array_equal(ours(written(unsigned, extra={0x00280102: ("US", value)})), HU)


def test_an_overlay_s_bit_that_is_no_single_number_is_none(written):
    extra = {0x60000100: ("US", 16), 0x60000102: ("US", [12, 13])}
    with pytest.raises(SeriesProblem, match="the pixels use bits of both readings"):
        ours(written(marked(PATCH, 12, unsigned), extra=extra, BitsStored=14, HighBit=11))


def test_pixels_that_are_no_whole_numbers_are_refused(written):
    folder = written(unsigned)
    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.FloatPixelData = HU[int(dataset.InstanceNumber) - 1].astype(np.float32).tobytes()
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 32, 32, 31
        del dataset.PixelData
        dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(SeriesProblem, match="the pixels are no whole numbers"):
        ours(folder)
