"""What three converters make of scans whose facts contradict each other: `python -m benchmarks facts`."""

import logging
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from benchmarks.contradictions import (
    BOTH,
    CHEST,
    LEAN,
    LOWER,
    UPPER,
    Input,
    beside,
    chest_hu,
    interleaved,
    left_out,
    marked,
    of_chest,
    padded,
    scaled,
    signed,
    smoothed,
    stacked,
    stored,
    study,
    tagged,
    unsigned,
    with_computed,
)
from benchmarks.odd_dicom import describe, peer
from benchmarks.placements import flipped, image, leaning, right
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_patient
from cpmn.errors import PatientError
from cpmn.files import read_json
from cpmn.volume.images import read_image

LONGEST = 180  # characters of a cell
DCM2NIIX = ["dcm2niix", "-z", "n", "-b", "n", "-f", "scan", "-o"]


def measure() -> Iterator[dict]:
    """One row per input: ours, dcm2niix, dicom2nifti."""
    if not (shutil.which("dcm2niix") and shutil.which("dicom2nifti")):
        sys.exit("This table needs its peers: apt-get install dcm2niix, pip install -e '.[bench]'")
    if not CHEST.is_dir():
        sys.exit(f"This table needs a real chest: no folder {CHEST} (set CPMN_REAL_DATA)")
    logging.disable(logging.WARNING)  # what is warned of stands in the table
    for (kind, name), given in INPUTS.items():
        with tempfile.TemporaryDirectory() as scratch:
            source = given.write(Path(scratch) / "scan")
            say = _beside_the_chest if given.same else describe
            peers = {"dcm2niix": DCM2NIIX, "dicom2nifti": ["dicom2nifti"]}
            found = {one: peer(command, source, say) if source.is_dir() else "" for one, command in peers.items()}
            yield {"kind": kind, "input": name, "cpmn": _ours(source, given, Path(scratch) / "out"), **found}


def _ours(source: Path, given: Input, folder: Path) -> str:
    scans = {phase: source if phase in given.phases else None for phase in BOTH}
    patient = Patient.model_validate({"patient_id": "p", "label": 0, **scans})
    try:
        convert_patient(patient, folder, ConvertConfig())
    except PatientError as error:
        return textwrap.shorten(f"refused: {_brief(error.problem)}", LONGEST, placeholder=" ...")
    return "; ".join(_converted(folder, phase, given) for phase in given.phases)


def _brief(text: str) -> str:
    """Without what a message says of each series in brackets, and without paths."""
    return re.sub(r" \(number (?:[^()]|\([^()]*\))*\)|image file \S+: |no usable CT series: ", "", text)


def _converted(folder: Path, phase: str, given: Input) -> str:
    made, record = read_image(folder / f"{phase}.nii.gz"), read_json(folder / f"{phase}.json")
    series = [f"{phase}: {record['contrast']['evidence']} contrast"] if len(given.phases) > 1 else []
    warned = [f"warned: {_brief(text)}" for text in record["warnings"]]
    said = [*series, (_beside_the_chest if given.same else describe)(made), *record["repaired"], *warned]
    return textwrap.shorten("; ".join(said), LONGEST, placeholder=" ...")


def _beside_the_chest(made: sitk.Image) -> str:
    """Size and slices of an image, and the share of its voxels that differ from the chest as it was measured."""
    hu = np.maximum(sitk.GetArrayFromImage(sitk.DICOMOrient(made, "LPS")).astype(float), -1024)
    if hu.shape != chest_hu().shape:
        return describe(made)
    wrong = np.abs(hu - chest_hu()) > 1
    wrong[chest_hu() < -1000] &= hu[chest_hu() < -1000] > -1000  # padding is as good as air
    if not wrong.any():
        return f"{describe(made)}, exact"
    low, high = hu[wrong].min(), hu[wrong].max()
    return f"{describe(made)}, {wrong.mean():.1%} of the values wrong, from {low:.0f} to {high:.0f} HU"


OVERLAY = {0x60000100: ("US", 16), 0x60000102: ("US", 12)}
SIGNED: dict[str, Any] = {"PixelRepresentation": 1, "RescaleIntercept": 0}
SILENT = {"ContrastBolusAgent": "", "SeriesDescription": ""}
WITH, WITHOUT = {**SILENT, "SeriesDescription": "CTPA"}, {**SILENT, "SeriesDescription": "nativ"}
TAGS, WHOSE, ONE, ENDS = "free text against image", "whose and when", "several acquisitions", "something missing"
PLACE, VALUES, UNUSUAL = "geometry", "values", "unusual and right"


def _window(hu: np.ndarray) -> np.ndarray:
    return (np.clip(hu.astype(int), -1350, 150) + 1350) * 255 // 1500


INPUTS: dict[tuple[str, str], Input] = {
    (UNUSUAL, "the chest as it is"): of_chest(lambda slices: slices, same=True),
    (UNUSUAL, "RescaleType 'Houndsfield Unit'"): of_chest(tagged(RescaleType="Houndsfield Unit"), same=True),
    (UNUSUAL, "columns that lean by 0.1 degrees"): of_chest(
        tagged(ImageOrientationPatient=[1, 0, 0, round(float(np.sin(LEAN)), 6), round(float(np.cos(LEAN)), 6), 0]),
        same=True,
    ),
    (UNUSUAL, "a child's chest (lungs of 480 mL)"): of_chest(scaled(0.43), same=True),
    (TAGS, "both series called 'CHEST W/WO'"): study(
        {**SILENT, "SeriesDescription": "CHEST W/WO"}, {**SILENT, "SeriesDescription": "CHEST W/WO"}
    ),
    (TAGS, "the names of NCT and CTPA exchanged"): study(WITH, WITHOUT),
    (TAGS, "'WITHOUT AND WITH CONTRAST', a CTPA given as NCT"): study(
        None, {**SILENT, "SeriesDescription": "WITHOUT AND WITH CONTRAST"}, ("nct",)
    ),
    (TAGS, "a CTPA given as NCT, no tag tells"): study(None, SILENT, ("nct",)),
    (TAGS, "an NCT given as CTPA, called 'CTPA'"): study(WITH, None, ("ctpa",)),
    (TAGS, "a virtual non-contrast image as NCT"): of_chest(lambda s: smoothed(s, SeriesDescription="VNC 5.0")),
    (TAGS, "a virtual non-contrast image by ImageType alone"): of_chest(
        lambda s: smoothed(s, ImageType=["DERIVED", "PRIMARY", "AXIAL", "MAT_REMOVED"])
    ),
    (TAGS, "an iodine map as NCT"): of_chest(lambda s: smoothed(s, SeriesDescription="Iodine Map 5.0")),
    (TAGS, "a virtual non-contrast image beside the NCT"): of_chest(with_computed, same=True),
    (WHOSE, "NCT of 2019 and CTPA of 2021 in one folder"): study(
        {"StudyDate": "20190305", "AcquisitionDate": "20190305", "ContentDate": "20190305", "SeriesDate": "20190305"},
        {"StudyDate": "20210305", "AcquisitionDate": "20210305", "ContentDate": "20210305", "SeriesDate": "20210305"},
    ),
    (WHOSE, "two visits of a patient, both without contrast"): of_chest(
        lambda s: [
            *s,
            *tagged(
                StudyDate="20090404",
                AcquisitionDate="20090404",
                ContentDate="20090404",
                SeriesDate="20090404",
                SeriesInstanceUID="1.2.3.6",
                StudyInstanceUID="1.2.3.7",
            )(s),
        ]
    ),
    (WHOSE, "NCT of one patient, CTPA of another"): study({"PatientID": "one"}, {"PatientID": "another"}),
    (ONE, "two breath-holds half a gap apart, two acquisition numbers"): of_chest(
        lambda s: [*tagged(AcquisitionNumber=1)(s), *interleaved(s, AcquisitionNumber=2)]
    ),
    (ONE, "two breath-holds half a gap apart, nothing tells them"): of_chest(
        lambda s: tagged(InstanceNumber=1)([*s, *interleaved(s)])
    ),
    (ONE, "lower half of another breath-hold, nothing tells it"): of_chest(stacked),
    (ONE, "upper half from 30 mm further up, nothing tells it"): of_chest(left_out),
    (ONE, "upper half at another tube voltage"): of_chest(tagged(UPPER, KVP=100)),
    (ONE, "upper half of another kernel"): of_chest(tagged(UPPER, ConvolutionKernel="C")),
    (ONE, "upper half in another frame of reference"): of_chest(tagged(UPPER, FrameOfReferenceUID="1.2.3.8")),
    (ONE, "a second pass over the lower half"): of_chest(lambda s: [*s, *tagged(AcquisitionNumber=2)(s[LOWER])]),
    (ONE, "one chest in two series of two kernels"): of_chest(
        tagged(UPPER, SeriesInstanceUID="1.2.3.4", ConvolutionKernel="C")
    ),
    (ENDS, "one chest in two series"): of_chest(tagged(UPPER, SeriesInstanceUID="1.2.3.4"), same=True),
    (ENDS, "six slices lost at the feet"): of_chest(lambda slices: slices[6:]),
    (ENDS, "six slices lost at the feet, and no numbers"): of_chest(lambda s: tagged(InstanceNumber=None)(s[6:])),
    (ENDS, "a slice lost in the middle"): of_chest(lambda slices: [*slices[:30], *slices[31:]]),
    (ENDS, "a slice that is there twice"): of_chest(lambda slices: [*slices, *tagged()(slices[30:31])]),
    (ENDS, "two empty files beside the slices"): beside(b""),
    (ENDS, "two files of zeros beside the slices"): beside(bytes(5000)),
    (PLACE, "NIfTI, both forms equal"): image(s=right, q=right),
    (PLACE, "NIfTI, columns that lean by 0.1 degrees"): image(s=leaning),
    (PLACE, "NIfTI, qform a mirror image of sform"): image(s=right, q=flipped(0)),
    (PLACE, "NIfTI, qform upside down beside sform"): image(s=right, q=flipped(2)),
    (PLACE, "NIfTI, neither form"): image(),
    (PLACE, "NIfTI, voxel size 0 and neither form"): image(size=False),
    (PLACE, "NIfTI, identity affine"): image(s=lambda form: np.eye(4), q=lambda form: np.eye(4)),
    (PLACE, "NIfTI, mirrored left to right"): image(s=flipped(0), q=flipped(0)),
    (PLACE, "NIfTI, upside down"): image(s=flipped(2), q=flipped(2)),
    (VALUES, "intercept forgotten"): of_chest(tagged(RescaleIntercept=0), same=True),
    (VALUES, "one slice without slope and intercept"): of_chest(
        tagged(slice(30, 31), RescaleSlope=None, RescaleIntercept=None), same=True
    ),
    (VALUES, "padding of 63536 above 12 unsigned bits, stated"): stored(
        padded(63536, unsigned), extra={0x00280120: ("US", 63536)}
    ),
    (VALUES, "padding of -2000, stated as unsigned"): stored(
        padded(-2000, signed), extra={0x00280120: ("US", 63536)}, BitsStored=16, HighBit=15, **SIGNED
    ),
    (VALUES, "padding of 32767, stated"): stored(
        padded(32767, signed), extra={0x00280120: ("SS", 32767)}, BitsStored=16, HighBit=15, **SIGNED
    ),
    (VALUES, "an overlay in the bit above 12 stored ones"): stored(marked(12), extra=OVERLAY),
    (VALUES, "an overlay above HighBit, BitsStored 16"): stored(marked(12), extra=OVERLAY, BitsStored=16),
    (VALUES, "other bits above HighBit, BitsStored 16"): stored(marked(13), BitsStored=16),
    (VALUES, "12 values in the upper of 16 bits"): stored(lambda hu: unsigned(hu) << 4, HighBit=15),
    (VALUES, "12 signed bits, sign not extended"): stored(lambda hu: signed(hu) & 0xFFF, **SIGNED),
    (VALUES, "JPEG 2000, signed codestream, unsigned header"): stored(
        signed, j2k=16, BitsStored=16, HighBit=15, RescaleIntercept=0
    ),
    (VALUES, "the same, of 12 bits"): stored(signed, j2k=12, RescaleIntercept=0),
    (VALUES, "NIfTI, a lung window of 8 bits"): image(_window, s=right, q=right),
    (VALUES, "NIfTI, intercept left out"): image(lambda hu: hu + 1024, s=right, q=right),
}
