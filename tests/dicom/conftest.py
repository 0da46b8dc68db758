"""Tiny synthetic DICOM series."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.stage import write_patient

ROWS, COLUMNS = 6, 8


def stored_values(index: int) -> np.ndarray:
    """Stored pixels (uint16) of the slice at place `index` of a volume: unlike in every slice, row and column."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    return (1000 * (index % 3) + 100 * rows + 3 * columns + index).astype(np.uint16)


def make_slice(index: int, position: tuple[float, float, float], **tags) -> FileDataset:
    """One CT slice in memory; `tags` replace the usual values, None removes a tag."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID") or CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(position), str(tags), str(index)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": "1.2.3.4",
        "PatientName": "Doe^Jane",
        "PatientID": "SECRET-77",
        "PatientBirthDate": "19560718",
        "StudyDate": "20190305",
        "Modality": "CT",
        "Manufacturer": "ACME",
        "ManufacturerModelName": "Ring 64",
        "ConvolutionKernel": "B30f",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SliceThickness": 9,
        "InstanceNumber": -index,
        "ImagePositionPatient": list(position),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.7, 0.8],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": ROWS,
        "Columns": COLUMNS,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": stored_values(index).tobytes(),
    }
    for keyword, value in (values | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a phantom patient, coarse: DICOM in `nct` and `ctpa`."""
    folder = tmp_path_factory.mktemp("phantom")
    config = PhantomConfig(nct_spacing=(3.2, 3.2, 4.0), ctpa_spacing=(3.0, 3.0, 3.0), subsample_mm=2.0)
    write_patient(config, "phantom-001", folder)
    return folder


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., Path]:
    """Write a series of slices at heights `z`, under file names that do not follow them; gives the folder."""

    def write(folder: str = "scan", z=None, *, each: Callable[[int], dict] = lambda index: {}, **tags) -> Path:
        target = tmp_path / folder
        target.mkdir(parents=True, exist_ok=True)
        heights = np.arange(12) * 2.5 - 30.0 if z is None else np.asarray(z, float)
        for index, height in enumerate(heights):
            dataset = make_slice(index, (-10.0, -20.0, float(height)), **(tags | each(index)))
            name = f"{(index * 7919) % 10007:05d}-{dataset.SeriesInstanceUID}"  # no extension, shuffled
            dataset.save_as(target / name, enforce_file_format=True)
        return target

    return write


@pytest.fixture
def relabel() -> Callable[..., None]:
    """Write a copy of a real slice at another height, as part of a made-up series."""

    def copy(source: Path, target: Path, height: float) -> None:
        dataset = pydicom.dcmread(source)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.ImagePositionPatient = [*list(dataset.ImagePositionPatient)[:2], height]
        dataset.save_as(target)

    return copy
