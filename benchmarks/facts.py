"""What three converters make of scans whose facts contradict each other: `python -m benchmarks facts`.

Each input is made of one real chest (64 slices of 5 mm): slices are copied with other tags, places or pixels, or left
out. What is right is known, as only one thing was changed.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import generate_uid
from scipy import ndimage

from benchmarks.cases import REAL_DATA
from benchmarks.odd_dicom import _peer
from cpmn.checks.finding import Refused, settle
from cpmn.checks.scan import check_scan
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError

CHEST = REAL_DATA / "lung_pet_ct_dx" / "A0001" / "5mm_B"
BREATH_MM = 20.0
UPPER = slice(32, None)
Slices = list[pydicom.Dataset]


def measure() -> Iterator[dict]:
    """One row per input: ours, dcm2niix, dicom2nifti."""
    if not (shutil.which("dcm2niix") and shutil.which("dicom2nifti")):
        sys.exit("This table needs its peers: apt-get install dcm2niix, pip install -e '.[bench]'")
    if not CHEST.is_dir():
        sys.exit(f"This table needs a real chest: no folder {CHEST} (set CPMN_REAL_DATA)")
    for name, make in INPUTS.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "scan"
            folder.mkdir()
            for number, one in enumerate(make(_chest())):
                one.save_as(folder / f"{number:04d}.dcm")
            if "empty files" in name:
                for number in range(2):
                    (folder / f"lost{number}.dcm").write_bytes(b"")
            yield {
                "input": name,
                "cpmn": _ours(folder),
                "dcm2niix": _peer(["dcm2niix", "-z", "n", "-b", "n", "-f", "scan", "-o"], folder),
                "dicom2nifti": _peer(["dicom2nifti"], folder),
            }


def _ours(folder: Path) -> str:
    try:
        image, facts = read_scan(folder, patient="p", phase="nct", series_uid="", config=ConvertConfig())
        findings = settle(check_scan(image, facts, "nct"))
    except (PatientError, Refused) as error:
        return f"refused: {error.problem if isinstance(error, PatientError) else error.finding.seen}"
    warned = [f"warned: {one.seen}" for one in findings if one.outcome == "warned"]
    size = "x".join(map(str, image.GetSize()))
    return "; ".join([f"{size} of {image.GetSpacing()[2]:.2f} mm", *facts["repaired"], *warned])


def _chest() -> Slices:
    """The chest from the feet up, numbered and without compression."""
    slices: Slices = sorted((pydicom.dcmread(path) for path in CHEST.iterdir()), key=_place)
    for number, one in enumerate(slices, start=1):
        one.InstanceNumber = number
    return slices


def _place(one: pydicom.Dataset) -> float:
    return float(one.ImagePositionPatient[2])


def _copy(one: pydicom.Dataset, up_mm: float = 0.0, pixels: np.ndarray | None = None, **tags) -> pydicom.Dataset:
    other = deepcopy(one)
    other.SOPInstanceUID = generate_uid()
    x, y, z = one.ImagePositionPatient
    other.ImagePositionPatient = [x, y, round(float(z) + up_mm, 3)]
    if pixels is not None:
        other.PixelData = pixels.astype(one.pixel_array.dtype).tobytes()
    for keyword, value in tags.items():
        setattr(other, keyword, value)
    return other


def _breathed(slices: Slices) -> list[np.ndarray]:
    """Pixels of the same chest after a breath: moved by `BREATH_MM` at the feet, by nothing at the head."""
    stored = np.stack([one.pixel_array for one in slices])
    places = np.arange(len(stored))
    step = _place(slices[1]) - _place(slices[0])
    moved = np.clip(places + BREATH_MM / step * (1 - places / (len(stored) - 1)), 0, len(stored) - 1)
    low = moved.astype(int)
    share = (moved - low)[:, None, None]
    high = np.minimum(low + 1, len(stored) - 1)
    return list(np.rint((1 - share) * stored[low] + share * stored[high]))


def _interleaved(slices: Slices, **tags) -> Slices:
    half = (_place(slices[1]) - _place(slices[0])) / 2
    other = [_copy(one, half, pixels, **tags) for one, pixels in zip(slices, _breathed(slices), strict=True)]
    return [*slices, *other]


def _virtual(slices: Slices) -> Slices:
    smooth = [ndimage.gaussian_filter(one.pixel_array.astype(float), 1.0) for one in slices]
    return [
        _copy(one, 0.0, np.rint(pixels), SeriesDescription="VNC 5.0")
        for one, pixels in zip(slices, smooth, strict=True)
    ]


def _tagged(**tags) -> Callable[[Slices], Slices]:
    return lambda slices: [_copy(one, **tags) for one in slices]


def _part(which: slice, **tags) -> Callable[[Slices], Slices]:
    """The chest in which the slices of `which` have other tags."""

    def make(slices: Slices) -> Slices:
        chosen = {id(one) for one in slices[which]}
        return [_copy(one, **tags) if id(one) in chosen else one for one in slices]

    return make


INPUTS: dict[str, Callable[[Slices], Slices]] = {
    "the chest as it is": lambda slices: slices,
    "two breath-holds half a gap apart, two acquisition numbers": lambda s: [
        *_tagged(AcquisitionNumber=1)(s),
        *_interleaved(s, AcquisitionNumber=2)[len(s) :],
    ],
    "two breath-holds half a gap apart, nothing tells them": lambda s: _tagged(InstanceNumber=1)(_interleaved(s)),
    "upper half at another tube voltage": _part(UPPER, KVP=100),
    "a second pass over the lower half": lambda s: [*s, *[_copy(one, AcquisitionNumber=2) for one in s[:32]]],
    "one chest in two series": _part(UPPER, SeriesInstanceUID="1.2.3.4"),
    "one chest in two series of two kernels": _part(UPPER, SeriesInstanceUID="1.2.3.4", ConvolutionKernel="C"),
    "six slices lost at the feet": lambda slices: slices[6:],
    "two empty files beside the slices": lambda slices: slices,
    "a virtual non-contrast image": _virtual,
    "RescaleType 'Houndsfield Unit'": _tagged(RescaleType="Houndsfield Unit"),
    "intercept forgotten": _tagged(RescaleIntercept=0),
}
