"""Seeded damage: of bytes, of text, of DICOM tags and files, of NIfTI headers."""

import gzip
import shutil
import struct
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.tag import Tag

Random = np.random.Generator

NUMBERS = ("0", "-1", "1", "2", "7", "255", "65535", "4294967295", "1e20", "-1e20", "1e308", "1e-308", "nan", "inf", "")
TEXTS = ("", " ", "\x00", "<b>", "../../etc/passwd", "ä" * 300, "=1+1", "'; DROP", "NaN", "null", "true", "9" * 400)
TAGS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelSpacing", "ImagePositionPatient"),
    *("ImageOrientationPatient", "SliceThickness", "NumberOfFrames", "PixelPaddingValue", "PhotometricInterpretation"),
    *("Modality", "ImageType", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"),
    *("InstanceNumber", "AcquisitionNumber", "StudyDate", "AcquisitionTime", "PatientID", "PatientPosition"),
    *("ContrastBolusAgent", "ConvolutionKernel", "KVP", "Manufacturer", "PixelData", "LossyImageCompression"),
)
# nifti1.h: place, struct format and number of values
FIELDS = {
    "sizeof_hdr": (0, "i", 1),
    "dim": (40, "h", 8),
    "intent_code": (68, "h", 1),
    "datatype": (70, "h", 1),
    "bitpix": (72, "h", 1),
    "pixdim": (76, "f", 8),
    "vox_offset": (108, "f", 1),
    "scl_slope": (112, "f", 1),
    "scl_inter": (116, "f", 1),
    "xyzt_units": (123, "B", 1),
    "qform_code": (252, "h", 1),
    "sform_code": (254, "h", 1),
    "quatern": (256, "f", 3),
    "qoffset": (268, "f", 3),
    "srow": (280, "f", 12),
    "magic": (344, "B", 4),
}


def damage_bytes(content: bytes, random: Random) -> bytes:
    """Flip bits, cut, cut out, put in, blank or repeat a stretch."""
    if not content:
        return random.bytes(20)
    data, at = bytearray(content), int(random.integers(len(content)))
    length = int(random.integers(1, 1 + min(len(data) - at, 4096)))
    kind = random.integers(6)
    if kind == 0:
        for place in random.integers(len(data), size=int(random.integers(1, 9))):
            data[place] ^= 1 << int(random.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = random.bytes(length)
    elif kind == 4:
        data[at : at + length] = bytes(length)
    else:
        data[at:at] = data[at : at + length]
    return bytes(data)


def damage_text(text: str, random: Random) -> str:
    """Replace a value by a hostile one, drop, repeat or swap lines, or damage bytes."""
    kind = random.integers(5)
    lines = text.splitlines(keepends=True)
    at = int(random.integers(len(lines)))
    if kind == 0:
        return damage_bytes(text.encode(), random).decode(errors="surrogateescape")
    if kind == 1:
        del lines[at]
    elif kind == 2:
        lines.insert(at, lines[int(random.integers(len(lines)))] * int(random.integers(1, 50)))
    elif kind == 3:
        other = int(random.integers(len(lines)))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = _damage_value(lines[at], random)
    return "".join(lines)


def _damage_value(line: str, random: Random) -> str:
    """Another value in the place of one that stands between separators."""
    marks = [place for place, sign in enumerate(line) if sign in ",:[]{}\n"]
    if len(marks) < 2:
        return line
    first = int(random.integers(len(marks) - 1))
    new = str(random.choice([*NUMBERS, *TEXTS]))
    return line[: marks[first] + 1] + " " * bool(random.integers(2)) + new + line[marks[first + 1] :]


def damage_dicom(folder: Path, random: Random) -> None:
    """Damage a folder of DICOM slices: the bytes or a tag of one file or of all, or which files there are."""
    files = sorted(folder.iterdir())
    victim, other = (files[int(random.integers(len(files)))] for _ in range(2))
    kind = random.integers(10)
    if kind < 2:
        victim.write_bytes(damage_bytes(victim.read_bytes(), random))
    elif kind == 2:
        _change_files(folder, victim, other, random)
    else:
        keyword = str(random.choice(TAGS))
        new, ratio = str(random.choice([*NUMBERS, *TEXTS[:8]])), float(random.normal(1, 0.3))
        scale = random.integers(3) == 0
        for path in files if random.integers(3) == 0 else [victim]:
            _change_tag(path, keyword, new, ratio if scale else None)


def _change_files(folder: Path, victim: Path, other: Path, random: Random) -> None:
    kind = random.integers(5)
    if kind == 0:
        victim.unlink()
    elif kind == 1:
        shutil.copyfile(victim, folder / "again")
    elif kind == 2:
        victim.write_bytes(other.read_bytes())
    elif kind == 3:
        (folder / f"stray{victim.suffix}").write_bytes(random.bytes(int(random.integers(2000))))
    else:
        victim.write_bytes(b"")


def _change_tag(path: Path, keyword: str, new: str, ratio: float | None) -> None:
    """Set a tag to a value, however wrong, or multiply its numbers by `ratio`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
        dataset = pydicom.dcmread(path)
        tag = Tag(keyword)
        if ratio is not None and keyword in dataset and keyword != "PixelData":
            values = dataset[tag].value if dataset[tag].VM > 1 else [dataset[tag].value]
            with suppress(TypeError, ValueError):
                dataset[tag].value = [f"{float(value) * ratio:.8g}" for value in values]
        elif new == "" and keyword in dataset:
            del dataset[tag]
        else:
            vr = pydicom.datadict.dictionary_VR(tag)
            dataset[tag] = _element(tag, vr.split(" or ")[-1], new)
        try:
            dataset.save_as(path)
        except Exception:  # what cannot be written is no case: the file stays as it was
            return


def _element(tag: pydicom.tag.BaseTag, vr: str, new: str) -> DataElement:
    if vr in ("US", "SS", "UL", "SL"):
        try:
            return DataElement(tag, vr, int(float(new or 0)) % 65536)
        except (ValueError, OverflowError):
            return DataElement(tag, vr, 65535)
    if vr in ("OB", "OW"):
        return DataElement(tag, vr, new.encode() * 2)
    try:
        return DataElement(tag, vr, new)
    except (TypeError, ValueError, OverflowError):  # pydicom holds no such number: as text, as a bad writer would
        return DataElement(tag, "LO", new[:64])


def damage_nifti(path: Path, random: Random) -> None:
    """Damage a .nii or .nii.gz file: a field of its header, its bytes, or those of its compressed stream."""
    zipped = path.suffix == ".gz"
    if zipped and random.integers(4) == 0:
        path.write_bytes(damage_bytes(path.read_bytes(), random))
        return
    content = gzip.decompress(path.read_bytes()) if zipped else path.read_bytes()
    content = _damage_header(content, random) if random.integers(4) else damage_bytes(content, random)
    path.write_bytes(gzip.compress(content, 1) if zipped else content)


def _damage_header(content: bytes, random: Random) -> bytes:
    place, form, count = FIELDS[str(random.choice(list(FIELDS)))]
    place += int(random.integers(count)) * struct.calcsize(form)
    data = bytearray(content)
    old = struct.unpack_from(f"<{form}", data, place)[0]
    if form == "f":
        choices = (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), -old, old * 1.5, 352.0, 100.0)
        struct.pack_into("<f", data, place, float(random.choice(choices)))
    else:
        low, high = {"h": (-32768, 32767), "i": (-(2**31), 2**31 - 1), "B": (0, 255)}[form]
        choices = (0, 1, 2, 4, 7, 16, low, high, old + 1, old * 2, -old)
        struct.pack_into(f"<{form}", data, place, max(low, min(high, int(random.choice(choices)))))
    return bytes(data)


def damage_zip(path: Path, random: Random) -> None:
    """Damage an archive of slices: its bytes, or what its members are called and how they are packed."""
    if random.integers(2):
        path.write_bytes(damage_bytes(path.read_bytes(), random))
        return
    with zipfile.ZipFile(path) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    names = list(members)
    victim = names[int(random.integers(len(names)))]
    kind = random.integers(4)
    if kind == 0:
        members[victim] = damage_bytes(members[victim], random)
    elif kind == 1:
        members[str(random.choice(("../outside", "/tmp/outside", "a/" * 200, "C:\\x", "nul\x00l")))] = members[victim]
    elif kind == 2:
        del members[victim]
    method = int(random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as opened:
        warnings.simplefilter("ignore")
        for name, content in members.items():
            opened.writestr(name, content)
        if kind == 3:
            opened.writestr(victim, members[victim])
