"""Writing a scan as a DICOM CT series (CT Image Storage, explicit VR little endian, uncompressed)."""

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from cpmn.dicom.scanners import MANUFACTURER, PHANTOM_MODEL
from cpmn.dicom.uids import uid_of
from cpmn.phantom.render import Grid
from cpmn.phantom.scan import Phase

RESCALE_INTERCEPT = -1024  # stored value = HU + 1024, unsigned, as most scanners do
STUDY_DATE = "20240101"
TIMES = {"nct": "090000", "ctpa": "091000"}  # the contrast scan follows ten minutes later
DESCRIPTIONS = {"nct": "Chest without contrast", "ctpa": "CT pulmonary angiography"}
SERIES_NUMBERS = {"nct": 2, "ctpa": 3}


class Slices(Protocol):
    """What is written of a scan: `hu` (z, y, x) int16 on `grid`."""

    @property
    def phase(self) -> Phase: ...

    @property
    def grid(self) -> Grid: ...

    @property
    def hu(self) -> np.ndarray: ...


def write_series(scan: Slices, patient_id: str, seed: int, folder: Path, model: str = PHANTOM_MODEL) -> None:
    """Write one file per slice into `folder`, which is made. The file names do not follow the slice order.

    UIDs are hashes of seed, patient, phase and slice. Both phases share study and frame of reference.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = _series_header(scan, patient_id, seed)
    common.ManufacturerModelName = model
    names = _names(len(scan.hu), f"{seed}/{patient_id}/{scan.phase}")
    for index, name in enumerate(names):
        _fill_slice(common, scan, index, f"{seed}/{patient_id}/{scan.phase}/{index}")
        dcmwrite(folder / name, common, enforce_file_format=True, overwrite=True)


def _names(count: int, key: str) -> list[str]:
    """File name of each slice: numbered in the order of a hash."""
    order = sorted(range(count), key=lambda index: hashlib.sha256(f"{key}/name/{index}".encode()).digest())
    number = {index: place for place, index in enumerate(order, start=1)}
    return [f"IM{number[index]:04d}.dcm" for index in range(count)]


def _series_header(scan: Slices, patient_id: str, seed: int) -> Dataset:
    header = Dataset()
    _add_meta(header)
    _add_patient_and_study(header, patient_id, seed)
    _add_series(header, scan.phase, f"{seed}/{patient_id}")
    _add_acquisition(header, scan)
    _add_pixels(header, scan)
    return header


def _add_meta(header: Dataset) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid_of("cpmn/phantom")
    meta.ImplementationVersionName = "CPMN_PHANTOM"
    header.file_meta = meta
    header.SOPClassUID = CTImageStorage


def _add_patient_and_study(header: Dataset, patient_id: str, seed: int) -> None:
    header.PatientName = f"PHANTOM^{patient_id.removeprefix('phantom-')}"
    header.PatientID = patient_id
    header.PatientBirthDate = ""
    header.PatientSex = ""
    header.StudyInstanceUID = uid_of(f"{seed}/{patient_id}/study")
    header.StudyDate = STUDY_DATE
    header.StudyTime = "085500"
    header.ReferringPhysicianName = ""
    header.StudyID = "1"
    header.AccessionNumber = ""
    header.StudyDescription = "CPMN phantom, synthetic"


def _add_series(header: Dataset, phase: Phase, key: str) -> None:
    header.Modality = "CT"
    header.SeriesInstanceUID = uid_of(f"{key}/{phase}/series")
    header.SeriesNumber = SERIES_NUMBERS[phase]
    header.SeriesDescription = DESCRIPTIONS[phase]
    header.BodyPartExamined = "CHEST"
    header.PatientPosition = "HFS"
    header.FrameOfReferenceUID = uid_of(f"{key}/frame")
    header.PositionReferenceIndicator = ""
    header.Manufacturer = MANUFACTURER
    header.ManufacturerModelName = PHANTOM_MODEL
    for name in ("Series", "Acquisition", "Content"):
        setattr(header, f"{name}Date", STUDY_DATE)
        setattr(header, f"{name}Time", TIMES[phase])
    if phase == "ctpa":
        header.ContrastBolusAgent = "synthetic iodine"
        header.ContrastBolusRoute = "IV"


def _add_acquisition(header: Dataset, scan: Slices) -> None:
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.AcquisitionNumber = 1
    header.KVP = 100 if scan.phase == "ctpa" else 120
    header.ConvolutionKernel = "PHANTOM"
    header.RescaleIntercept = RESCALE_INTERCEPT
    header.RescaleSlope = 1
    header.RescaleType = "HU"
    x, y, z = scan.grid.spacing
    header.PixelSpacing = [y, x]  # between rows, then between columns
    header.SliceThickness = z
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def _add_pixels(header: Dataset, scan: Slices) -> None:
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows, header.Columns = scan.hu.shape[1:]
    header.BitsAllocated = 16
    header.BitsStored = 12
    header.HighBit = 11
    header.PixelRepresentation = 0
    header.WindowCenter = 40
    header.WindowWidth = 400


def _fill_slice(header: Dataset, scan: Slices, index: int, key: str) -> None:
    x, y, z = scan.grid.origin
    uid = uid_of(f"{key}/image")
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = uid
    header.InstanceNumber = index + 1
    header.ImagePositionPatient = [x, y, round(z + index * scan.grid.spacing[2], 6)]
    header.SliceLocation = header.ImagePositionPatient[2]
    stored = scan.hu[index].astype(np.int32) - RESCALE_INTERCEPT
    header.PixelData = stored.astype("<u2").tobytes()
