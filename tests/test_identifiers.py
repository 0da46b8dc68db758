"""Nothing that identifies a patient gets from the DICOM headers into what the preprocessing stages write."""

import gzip
from pathlib import Path

import pydicom
import pytest
from PIL import Image

from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.config.phantom import PhantomConfig
from cpmn.config.propagate import PropagateConfig
from cpmn.config.register import RegisterConfig
from cpmn.convert.stage import convert_patient
from cpmn.crop.stage import crop_patient
from cpmn.phantom.stage import write_patient
from cpmn.propagate.stage import propagate_patient
from cpmn.register.stage import register_patient

IDENTIFYING = {
    "PatientName": "Zebrowski^Wilhelmina",
    "PatientID": "HOSP-7741209",
    "OtherPatientIDs": "PENSION-55120",
    "PatientBirthDate": "19370419",
    "PatientBirthTime": "041733.25",
    "PatientAddress": "Quittengasse 93",
    "PatientMotherBirthName": "Obermoser",
    "PatientTelephoneNumbers": "0699-8812345",
    "PatientAge": "087Y",
    "PatientComments": "lives with her sister",
    "EthnicGroup": "Sorbian",
    "Occupation": "Lampkeeper",
    "AdditionalPatientHistory": "fell off a ladder",
    "InstitutionName": "Klinikum Nordwald",
    "InstitutionAddress": "Fichtenweg 8, Nordwald",
    "InstitutionalDepartmentName": "Roentgen West",
    "StationName": "CTNORD07",
    "DeviceSerialNumber": "SN-918273645",
    "ReferringPhysicianName": "Kuckelkorn^Hans",
    "PerformingPhysicianName": "Ypsilanti^Rosa",
    "OperatorsName": "Fernweh^Ines",
    "AccessionNumber": "ACC-665544332",
    "StudyID": "STUDY-90817",
    "StudyDate": "20310213",
    "SeriesDate": "20310214",
    "AcquisitionDate": "20310215",
    "ContentDate": "20310216",
    "StudyTime": "071931.5",
    "StudyDescription": "Thorax Frau Zebrowski",
    "ProtocolName": "Sonderprotokoll Nordwald",
    "RequestedProcedureDescription": "Ausschluss nach Sturz",
    "FrameOfReferenceUID": "1.2.276.0.99.1",
    "StudyInstanceUID": "1.2.276.0.99.2",
    "ImageComments": "for Dr. Kuckelkorn",
}
CONFIG = PhantomConfig(nct_spacing=(4.0, 4.0, 5.0), ctpa_spacing=(4.0, 4.0, 5.0), subsample_mm=2.5)
NAME = next(patient_id(index) for index in range(2) if phantom_label(CONFIG.seed, index))  # one with PE
PHASES = {
    "nct": ("1.2.276.0.99.3.1", "Nativ Zebrowska"),
    "ctpa": ("1.2.276.0.99.3.2", "Angio Zebrowska"),
}


@pytest.fixture(scope="module")
def dicom(tmp_path_factory) -> Path:
    """A small phantom patient with a full set of identifying tags, some of them in a private group and a sequence."""
    folder = tmp_path_factory.mktemp("source")
    write_patient(CONFIG, NAME, folder)
    for phase, (uid, description) in PHASES.items():
        for path in (folder / phase).iterdir():
            dataset = pydicom.dcmread(path)
            for keyword, value in (IDENTIFYING | {"SeriesInstanceUID": uid, "SeriesDescription": description}).items():
                setattr(dataset, keyword, value)
            dataset.private_block(0x0029, "NORDWALD CSA", create=True).add_new(1, "LO", "Privat Zebrowski")
            dataset.RequestAttributesSequence = [pydicom.Dataset()]
            dataset.RequestAttributesSequence[0].ScheduledProcedureStepID = "STEP-4711-Z"
            dataset.save_as(path)
    return folder


def secrets() -> set[str]:
    values = {*IDENTIFYING.values(), *(value for pair in PHASES.values() for value in pair)}
    return values | {"Zebrowski", "Wilhelmina", "Privat", "NORDWALD CSA", "STEP-4711-Z", NAME}


def contents(path: Path) -> bytes:
    """A file's bytes, unpacked where they are compressed, and the texts in a picture."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return data + repr(picture.info).encode()
    return data


def found(folder: Path) -> set[str]:
    everything = [contents(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    return {secret for secret in secrets() if any(secret.encode() in data for data in everything)}


@pytest.mark.slow
def test_nothing_identifying_is_written(dicom, tmp_path):
    assert found(dicom) >= secrets() - {NAME}  # the search does find them where they are
    patient = Patient.model_validate(
        {"patient_id": "p1", "label": 1, **{name: dicom / name for name in PHASES}}
        | {"ctpa_mask": dicom / "ctpa_mask.nii.gz"}
    )
    convert, register, crop = (tmp_path / stage for stage in ("convert", "register", "crop"))
    convert_patient(patient, convert, ConvertConfig())
    scans = {phase: convert / f"{phase}.nii.gz" for phase in PHASES}
    register_patient("p1", scans["nct"], scans["ctpa"], register, RegisterConfig(), threads=1)
    embolus = tmp_path / "propagate/embolus.nii.gz"
    transform = {"affine": register / "affine.mat", "warp": register / "warp.nii.gz"}
    propagate_patient(patient, **scans, **transform, output=embolus, config=PropagateConfig())
    moved = register / "ctpa_in_nct.nii.gz"
    crop_patient("p1", nct=scans["nct"], ctpa_in_nct=moved, embolus=embolus, folder=crop, config=CropConfig())
    assert len(list(tmp_path.rglob("*.*"))) >= 15
    assert found(tmp_path) == set()
    assert not any(secret in str(path) for path in tmp_path.rglob("*") for secret in secrets())
