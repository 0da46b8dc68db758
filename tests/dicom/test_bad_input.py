"""The table of bad input: what is given to `convert` and `crop`, and the message that comes back."""

import gzip
import os
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.crop.stage import crop_patient
from cpmn.dicom.headers import read_dicom, read_file_set
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError
from cpmn.volume.images import image_like, write_image


class Given:
    """Writes one bad input; each method gives its path."""

    def __init__(self, write_series, folder: Path):
        self.write, self.folder = write_series, folder

    def series(self, z=None, each=None, **tags) -> Path:
        return self.write(z=z, each=(lambda index: each if index == 5 else {}) if each else lambda index: {}, **tags)

    def changed(self, change) -> Path:
        """A series of which one file's bytes are changed."""
        source = self.write()
        victim = sorted(source.iterdir())[4]
        victim.write_bytes(change(victim.read_bytes()))
        return source

    def file(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def image(self, low: float, high: float, name: str = "scan.mha") -> Path:
        array = np.full((4, 5, 6), high, np.float32)
        array[0] = low
        sitk.WriteImage(sitk.GetImageFromArray(array), str(self.folder / name))
        return self.folder / name

    def zipped(self, size: int) -> Path:
        with zipfile.ZipFile(self.folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(size))
        return self.folder / "scan.zip"

    def packed(self, method: int) -> Path:
        """450 bytes that Python's zipfile unpacks at once, whatever size they declare."""
        path = self.folder / "scan.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("slice", bytes(1000))
        return path

    def pipe(self) -> Path:
        os.mkfifo(self.folder / "scan.nii.gz")
        return self.folder / "scan.nii.gz"

    def syntax(self, uid: str) -> Path:
        source = self.write()
        for path in source.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(uid)
            dataset.save_as(path, implicit_vr=False, little_endian=True)
        return source

    def huge(self) -> Path:
        header = nibabel.Nifti1Header()
        header.set_data_dtype("uint8")
        header.set_data_shape((30000, 30000, 30000))
        header.set_sform(np.eye(4), 1)
        return self.file("scan.nii.gz", gzip.compress(header.binaryblock + bytes(4)))

    def two_series(self) -> Path:
        self.write("study/a", SeriesInstanceUID="1.5")
        self.write("study/b", SeriesInstanceUID="1.6", ConvolutionKernel="B70f")
        return self.folder / "study"

    def empty(self) -> Path:
        (self.folder / "empty").mkdir()
        return self.folder / "empty"


def shifted(content: bytes) -> bytes:
    """A stretch was put in before: the last bytes of the pixels look like another element, of a lower tag."""
    return content + bytes.fromhex("08002200") + b"DA\x08\x0020190305"


def repeated(content: bytes) -> bytes:
    """The same of a tag that the file has before its pixels too: a data set holds the later one alone."""
    return content + bytes.fromhex("08006000") + b"CS\x02\x00CT"


TILTED = [1, 0, 0, 0, np.cos(0.2), -np.sin(0.2)]
CORONAL = [1, 0, 0, 0, 0, -1]
TALL = {"Rows": 7, "PixelData": bytes(7 * 8 * 2)}
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"

# what is given, the settings of convert, the message
TABLE = {
    "no such path": (lambda g: g.folder / "absent", {}, "the NCT does not exist"),
    "empty folder": (lambda g: g.empty(), {}, "the folder or archive is empty"),
    "no DICOM": (lambda g: g.file("notes.txt", b"hello"), {}, "none of the 1 files is a readable DICOM image"),
    "header cut off": (lambda g: g.changed(lambda b: b[:180]), {}, "a DICOM file is damaged"),
    "pixels cut off": (lambda g: g.changed(lambda b: b[:-40]), {}, "the pixel data is damaged or truncated"),
    "pixels shifted": (lambda g: g.changed(shifted), {}, r"the pixel data are damaged: \d+ elements follow them"),
    "pixels shifted, a tag twice": (lambda g: g.changed(repeated), {}, "1 elements follow them, first"),
    "one slice": (lambda g: g.series(z=[0]), {}, "the series has 1 CT slices, at least 10 are needed"),
    "MR": (lambda g: g.series(Modality="MR"), {}, "modality is MR, not CT"),
    "dose report": (lambda g: g.series(z=[0], Modality="SR"), {}, "modality is SR, not CT"),
    "secondary capture": (lambda g: g.series(SOPClassUID=CAPTURE), {}, "secondary capture, a picture of a screen"),
    "localizer": (lambda g: g.series(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), {}, "localizer"),
    "MIP": (lambda g: g.series(ImageType=["DERIVED", "SECONDARY", "MIP"]), {}, "projection through slices"),
    "frames without a place": (
        lambda g: g.series(z=[0], SOPClassUID=ENHANCED, NumberOfFrames=40),
        {},
        "multi-frame image that does not say where each frame lies",
    ),
    "two like series": (lambda g: g.two_series(), {}, r"2 series suit equally: .*B30f.*B70f.*nct_series"),
    "coronal": (lambda g: g.series(ImageOrientationPatient=CORONAL), {}, "the slices are not axial"),
    "a coronal slice among axial ones": (
        lambda g: g.series(each={"ImageOrientationPatient": CORONAL}),
        {},
        r"no usable CT series: .*told apart by direction: slice spacing is uneven.*: the series has 1 CT slices",
    ),
    "a larger slice": (lambda g: g.series(each=TALL), {}, r"slices differ in size \(11 of 8x6, 1 of 8x7\)"),
    "other pixels in a slice": (
        lambda g: g.series(each={"PixelSpacing": [0.9, 0.9]}),
        {},
        r"pixel spacing differs between slices \(0.7 to 0.9 mm\)",
    ),
    "copies": (lambda g: g.series(z=[*range(12), 3]), {}, r"same position: 3.00 mm \(2 slices\)"),
    "missing slice": (
        lambda g: g.series(z=[*range(8), *range(9, 14)]),
        {},
        r"median gap 1.00 mm, but 2.00 mm at 7.00 mm.*convert.uneven_spacing",
    ),
    "a wide gap": (
        lambda g: g.series(z=[*range(8), *range(30, 38)]),
        {"uneven_spacing": "resample"},
        r"23.00 mm at 7.00 mm; a gap is above convert.maximum_gap_mm \(10 mm\)",
    ),
    "gantry tilt": (
        lambda g: g.series(ImageOrientationPatient=TILTED),
        {"gantry_tilt": "refuse"},
        r"gantry tilt of 11.5 degrees \(positions from \(-10.0, -20.0, -30.0\) to .*convert.gantry_tilt",
    ),
    "slice out of line": (
        lambda g: g.series(each={"ImagePositionPatient": [-4.0, -20.0, -17.5]}),
        {},
        r"displaced sideways, and not along one line: .* at \(-4.0, -20.0, -17.5\) mm",
    ),
    "no positions": (lambda g: g.series(ImagePositionPatient=None), {}, "a slice has no valid ImagePositionPatient"),
    "no rescale": (lambda g: g.series(RescaleSlope=None), {}, "a slice has no valid RescaleSlope"),
    "a slope beyond measure": (lambda g: g.series(RescaleSlope="1E20"), {}, "a slice has no valid RescaleSlope"),
    "an intercept beyond measure": (
        lambda g: g.series(RescaleIntercept="-1E20"),
        {},
        "a slice has no valid RescaleIntercept",
    ),
    "no slope": (lambda g: g.series(RescaleSlope=0), {}, "a slice has no valid RescaleSlope"),
    "65,535 rows and columns": (
        lambda g: g.series(Rows=65535, Columns=65535),
        {},
        "a slice has no valid Rows or Columns",
    ),
    "pixels too small": (lambda g: g.series(PixelSpacing=["1E-9", "1E-9"]), {}, "a slice has no valid PixelSpacing"),
    "pixels of a negative size": (
        lambda g: g.series(PixelSpacing=[-0.7, 0.7]),
        {},
        "a slice has no valid PixelSpacing",
    ),
    "a place beyond measure": (
        lambda g: g.series(each={"ImagePositionPatient": ["1E20", "0", "0"]}),
        {},
        "a slice has no valid ImagePositionPatient",
    ),
    "no transfer syntax": (lambda g: g.syntax("1.2.3.4.5.6.7.8.9.99"), {}, "is no transfer syntax"),
    "a high bit beyond measure": (lambda g: g.series(HighBit=65535), {}, "BitsStored is 16 and HighBit is 65535"),
    "a pipe": (lambda g: g.pipe(), {}, "the NCT is neither a file nor a folder"),
    "a zip packed with LZMA": (lambda g: g.packed(zipfile.ZIP_LZMA), {}, "packed by another method than Deflate"),
    "a zip packed with bzip2": (lambda g: g.packed(zipfile.ZIP_BZIP2), {}, "packed by another method than Deflate"),
    "a volume beyond measure": (lambda g: g.huge(), {}, "its header asks for"),
    "density, not HU": (lambda g: g.series(RescaleType="ED"), {}, "the values are ED, not HU"),
    "damaged archive": (lambda g: g.file("scan.zip", b"no archive"), {}, "the zip archive is damaged"),
    "zip bomb": (lambda g: g.zipped(2_000_000), {"maximum_unzipped_gb": 0.001}, "zip archives hold more than 0.001 GB"),
    "damaged image file": (lambda g: g.file("scan.nii.gz", b"garbage"), {}, "cannot be read"),
    "grey values": (lambda g: g.image(0, 255), {}, "values from 0 to 255 are not those of a chest CT in HU"),
    "nothing but air": (lambda g: g.image(-1000, -900), {}, "values from -1000 to -900 are not"),
    "NaN": (lambda g: g.image(np.nan, 100), {}, "NaN"),
    "NaN in a NIfTI file": (lambda g: g.image(np.nan, 100, "scan.nii.gz"), {}, "NaN"),
    "no chest": (lambda g: g.series(), {}, "no lungs found: 0 mL of lung, at least 300 mL are expected"),
}


@pytest.mark.parametrize("name", TABLE)
def test_bad_input(write_series, tmp_path, name):
    make, settings, expected = TABLE[name]
    source = make(Given(write_series, tmp_path))
    with pytest.raises(PatientError, match=expected) as caught:
        convert_and_crop(source, tmp_path / "out", settings)
    assert str(caught.value).startswith("patient p1: ")
    assert str(tmp_path) in str(caught.value)  # the file or folder concerned
    assert caught.value.remedy
    assert not (tmp_path / "out/crop").exists()


def convert_and_crop(source: Path, folder: Path, settings: dict) -> None:
    config = ConvertConfig.model_validate(settings)
    nct, _ = read_scan(source, patient="p1", phase="nct", series_uid="", config=config)
    write_image(nct, folder / "nct.nii.gz")
    write_image(image_like(np.zeros(nct.GetSize()[::-1], np.uint8), nct), folder / "embolus.nii.gz")
    files = {"nct": folder / "nct.nii.gz", "ctpa_in_nct": None, "embolus": folder / "embolus.nii.gz"}
    crop_patient("p1", **files, folder=folder / "crop", config=CropConfig())


@pytest.mark.parametrize("name", ["IM{:04d}", "CT.1.2.840.99.{}", "{}"])
def test_a_lost_slice_is_known_by_its_name_without_a_suffix(write_series, name):
    source = write_series()
    for number, path in enumerate(sorted(source.iterdir()), start=1):
        path.rename(source / name.format(number))
    for other in (name.format(14), "README"):
        (source / other).write_text("no DICOM")
    assert [path.name for path in read_file_set(source).unreadable] == [name.format(14)]


def forged(content: bytes) -> bytes:
    """The header, group 0002, states another length of its own."""
    return content[:140] + b"\xff\xff\xff\x7f" + content[144:]


def postponed(content: bytes) -> bytes:
    """2000 bytes stand before the transfer syntax, in an element whose length has 32 bits."""
    return content[:144] + b"\x02\x00\x01\x00OB\x00\x00" + (2000).to_bytes(4, "little") + bytes(2000) + content[158:]


def implicit(content: bytes) -> bytes:
    """A header without value representations, which pydicom takes."""
    uid = DeflatedExplicitVRLittleEndian.encode()
    data = content[144 + int.from_bytes(content[140:144], "little") :]
    return content[:132] + b"\x02\x00\x10\x00" + len(uid).to_bytes(4, "little") + uid + data


def endless(content: bytes) -> bytes:
    """An element of undefined length stands before the transfer syntax."""
    item = b"\x02\x00\x01\x00UN\x00\x00\xff\xff\xff\xff\xfe\xff\xdd\xe0" + bytes(4)
    return content[:144] + item + content[158:]


@pytest.mark.parametrize("change", [bytes, forged, postponed, implicit, endless])
def test_deflated_data_without_end_is_refused_before_it_is_inflated(write_series, tmp_path, monkeypatch, change):
    path = next(write_series().iterdir())
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.PixelData = bytes(8_000_000)
    dataset.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    (tmp_path / "bomb.dcm").write_bytes(change((tmp_path / "bomb.dcm").read_bytes()))
    assert (tmp_path / "bomb.dcm").stat().st_size < 20_000
    read_dicom(tmp_path / "bomb.dcm")
    monkeypatch.setattr("cpmn.dicom.headers.LARGEST_INFLATED", 7_000_000)
    with pytest.raises(SeriesProblem, match="a deflated DICOM file is too large"):
        read_dicom(tmp_path / "bomb.dcm")
