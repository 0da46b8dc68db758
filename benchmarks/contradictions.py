"""Scans whose facts contradict each other, made of one real chest (64 slices of 5 mm) or of a phantom's two phases.

One thing is changed in each, so that what is right is known.
"""

import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless
from scipy import ndimage

from benchmarks.cases import REAL_DATA, SEED
from cpmn.config.phantom import PhantomConfig
from cpmn.dicom.uids import uid_of
from cpmn.phantom.stage import write_patient

CHEST = REAL_DATA / "lung_pet_ct_dx" / "A0001" / "5mm_B"
PATIENT = "phantom-001"
BREATH_MM = 20.0
MOST = np.uint16(2047 + 1024)  # stored
LOWER, UPPER = slice(32), slice(32, None)
BOTH = ("nct", "ctpa")
LEAN = np.deg2rad(0.1)
Slices = list[pydicom.Dataset]
Change = Callable[[Slices], Slices]


@dataclass(frozen=True)
class Input:
    """One input.

    write : writes it into an empty folder, and gives what is to be read.
    phases : what it is given as.
    same : whether the chest as it was measured is to come out of it.
    """

    write: Callable[[Path], Path]
    phases: tuple[str, ...] = ("nct",)
    same: bool = False


@cache
def chest() -> Slices:
    """The chest from the feet up, numbered and without compression; not to be changed.

    Outside the largest circle it is air, as most scanners have it, and metal ends at 2,047 HU, the most that 12 signed
    bits hold.
    """
    slices: Slices = sorted((pydicom.dcmread(path) for path in CHEST.iterdir()), key=_place)
    for number, one in enumerate(slices, start=1):
        one.InstanceNumber = number
        one.PixelData = np.where(_outside(one.pixel_array.shape), 0, np.minimum(one.pixel_array, MOST)).tobytes()
    return slices


def _outside(shape: tuple[int, ...]) -> np.ndarray:
    """What lies outside the largest circle of a slice (y, x)."""
    y, x = (np.indices(shape) - (shape[0] - 1) / 2) / (shape[0] / 2)
    return np.hypot(y, x) > 1


@cache
def chest_hu() -> np.ndarray:
    """HU of the chest as measured (z, y, x; LPS), int16."""
    return np.stack([one.pixel_array for one in chest()]).astype(np.int16) - 1024


@cache
def _phases() -> dict[str, Slices]:
    """Both phases of a phantom patient."""
    with tempfile.TemporaryDirectory() as name:
        write_patient(PhantomConfig(seed=SEED), PATIENT, Path(name))
        return {phase: [pydicom.dcmread(path) for path in sorted((Path(name) / phase).iterdir())] for phase in BOTH}


def _place(one: pydicom.Dataset) -> float:
    return float(one.ImagePositionPatient[2])


def gap_mm() -> float:
    """From slice to slice of the chest."""
    return _place(chest()[1]) - _place(chest()[0])


def _copy(one: pydicom.Dataset, up_mm: float = 0.0, pixels: np.ndarray | None = None, **tags) -> pydicom.Dataset:
    """A slice `up_mm` further, with other pixels and tags; None removes a tag."""
    other = deepcopy(one)
    other.SOPInstanceUID = uid_of(f"{one.SOPInstanceUID}/{up_mm}/{sorted(tags)}")
    x, y, z = one.ImagePositionPatient
    other.ImagePositionPatient = [x, y, round(float(z) + up_mm, 3)]
    if pixels is not None:
        other.PixelData = np.ascontiguousarray(pixels).tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(other, keyword)
        else:
            setattr(other, keyword, value)
    return other


def _save(slices: Slices, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(slices):
        one.save_as(folder / f"{number:04d}.dcm")
    return folder


def of_chest(change: Change, same: bool = False) -> Input:
    """A changed series of the chest."""
    return Input(lambda folder: _save(change(chest()), folder), same=same)


def tagged(which: slice = slice(None), **tags) -> Change:
    """The chest in which the slices of `which` have other tags."""

    def change(slices: Slices) -> Slices:
        chosen = {id(one) for one in slices[which]}
        return [_copy(one, **tags) if id(one) in chosen else one for one in slices]

    return change


def beside(content: bytes, name: str = "lost") -> Input:
    """The chest, and two files of `content` beside its slices."""

    def write(folder: Path) -> Path:
        _save(chest(), folder)
        for number in range(2):
            (folder / f"{name}{number}.dcm").write_bytes(content)
        return folder

    return Input(write, same=True)


def stored(
    pixels: Callable[[np.ndarray], np.ndarray], *, j2k: int = 0, extra: dict | None = None, **tags: Any
) -> Input:
    """The chest stored in another way: `pixels` makes stored values of HU; `j2k` bits of a JPEG 2000 codestream.

    extra : {tag: (representation, value)}.
    """

    def one(dataset: pydicom.Dataset, hu: np.ndarray) -> pydicom.Dataset:
        values = pixels(hu)
        other = _copy(dataset, pixels=values, **tags)
        for tag, (representation, value) in (extra or {}).items():
            other.add_new(tag, representation, value)
        if j2k:
            other.file_meta.TransferSyntaxUID = JPEG2000Lossless
            other.PixelData = encapsulate([bytes(encode_array(values, bits_stored=j2k))])
            other["PixelData"].VR = "OB"
        return other

    return of_chest(lambda slices: [one(*pair) for pair in zip(slices, chest_hu(), strict=True)], same=True)


def unsigned(hu: np.ndarray) -> np.ndarray:
    """Stored values of 12 bits with an intercept of -1024, as the chest has them."""
    return (hu + 1024).astype(np.uint16)


def signed(hu: np.ndarray) -> np.ndarray:
    """Stored values with an intercept of 0."""
    return hu.astype(np.int16)


def padded(value: int, pixels: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Stored values with padding outside the largest circle."""

    def make(hu: np.ndarray) -> np.ndarray:
        return np.where(_outside(hu.shape), np.int64(value).astype(pixels(hu).dtype), pixels(hu))

    return make


def marked(bit: int) -> Callable[[np.ndarray], np.ndarray]:
    """Stored values with a square of `bit` in the middle."""

    def make(hu: np.ndarray) -> np.ndarray:
        values, middle = unsigned(hu), slice(240, 270)
        values[middle, middle] |= 1 << bit
        return values

    return make


def breathed() -> list[np.ndarray]:
    """Stored pixels of the same chest after a breath: moved by `BREATH_MM` at the feet, by nothing at the head."""
    values = unsigned(chest_hu())
    places = np.arange(len(values))
    moved = np.clip(places + BREATH_MM / gap_mm() * (1 - places / (len(values) - 1)), 0, len(values) - 1)
    low = moved.astype(int)
    share, high = (moved - low)[:, None, None], np.minimum(low + 1, len(values) - 1)
    return list(np.rint((1 - share) * values[low] + share * values[high]).astype(np.uint16))


def interleaved(slices: Slices, **tags) -> Slices:
    """The slices of another breath, half a gap further each."""
    return [_copy(one, gap_mm() / 2, pixels, **tags) for one, pixels in zip(slices, breathed(), strict=True)]


def stacked(slices: Slices) -> Slices:
    """The lower half after a breath, which no tag tells."""
    return [_copy(one, 0.0, pixels) for one, pixels in zip(slices[LOWER], breathed(), strict=False)] + slices[UPPER]


def left_out(slices: Slices) -> Slices:
    """The upper half from 30 mm further up, as after a breath, which no tag tells."""
    return [*slices[LOWER], *[_copy(one, -30.0) for one in slices[UPPER][6:]]]


def smoothed(slices: Slices, **tags) -> Slices:
    """The chest as a computed image: smooth, and called one."""
    made = [np.rint(ndimage.gaussian_filter(unsigned(hu).astype(float), 1.0)).astype(np.uint16) for hu in chest_hu()]
    return [_copy(one, 0.0, pixels, **tags) for one, pixels in zip(slices, made, strict=True)]


def with_computed(slices: Slices) -> Slices:
    """The chest and a virtual non-contrast image of thinner slices by name, in one study."""
    return [*slices, *smoothed(slices, SeriesDescription="VNC 5.0", SeriesInstanceUID="1.2.3.5")]


def scaled(by: float) -> Change:
    """The chest of somebody smaller."""

    def change(slices: Slices) -> Slices:
        spacing = [by * float(mm) for mm in slices[0].PixelSpacing]
        places = [[round(by * float(mm), 4) for mm in one.ImagePositionPatient] for one in slices]
        return [_copy(one, PixelSpacing=spacing, ImagePositionPatient=p) for one, p in zip(slices, places, strict=True)]

    return change


def study(nct: dict | None, ctpa: dict | None, phases: tuple[str, ...] = BOTH) -> Input:
    """One folder of a phantom's phases with other tags; None leaves a phase out."""

    def write(folder: Path) -> Path:
        for phase, tags in zip(BOTH, (nct, ctpa), strict=True):
            if tags is not None:
                _save([_copy(one, **tags) for one in _phases()[phase]], folder / phase)
        return folder

    return Input(write, phases)
