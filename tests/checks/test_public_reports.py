"""Inputs that people reported of other tools, made anew, with the report's project and number.

What is asked is what a pipeline must not do in silence: take a scan for another phase, stack two acquisitions, lose
slices, or train on what it tests.
"""

import shutil
from pathlib import Path

import pydicom
import pytest

from cpmn.checks.cohort import check_cohort, read_records
from cpmn.checks.scan import check_scan
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_patient
from cpmn.dicom.acquisition import acquisitions
from cpmn.dicom.headers import read_file_set
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError

STEP_MM = 2.5
PLACES = [STEP_MM * n for n in range(12)]


def read(source: Path, phase: str = "nct"):
    return read_scan(source, patient="p", phase=phase, series_uid="", config=ConvertConfig())


def outcomes(source: Path, phase: str = "nct") -> dict[str, str]:
    return {finding.check: finding.outcome for finding in check_scan(*read(source, phase), phase)}


@pytest.fixture
def retagged(phantom, tmp_path):
    """A phase of the phantom with other tags."""

    def copy(phase: str, **tags) -> Path:
        for path in (phantom / phase).iterdir():
            dataset = pydicom.dcmread(path)
            for keyword, value in ({"SeriesDescription": "", "ContrastBolusAgent": ""} | tags).items():
                setattr(dataset, keyword, value)
            (tmp_path / phase).mkdir(exist_ok=True)
            dataset.save_as(tmp_path / phase / path.name)
        return tmp_path / phase

    return copy


def test_a_ctpa_by_name_that_holds_no_contrast(retagged):
    """INSPECT_public 12: scans chosen by 'CTPA + PE' in their order look like non-contrast CT."""
    scan = retagged("nct", SeriesDescription="CT CHEST ANGIOGRAPHY W IV CONTRAST PULMONARY EMBOLISM")
    assert outcomes(scan, "ctpa")["contrast"] == "refused"


def test_a_procedure_with_contrast_and_a_scan_without(retagged):
    """pylidc 35: the step is called 'W CONTRAST', the scan has no agent; the image decides."""
    scan = retagged("nct", PerformedProcedureStepDescription="CT, CHEST, W CONTRAST")
    assert outcomes(scan)["contrast"] == "passed"


def test_no_word_of_contrast_anywhere(retagged):
    """RadGPT 8: the column is empty, which says neither with nor without; the image does."""
    assert outcomes(retagged("ctpa"), "nct")["contrast"] == "refused"


@pytest.mark.parametrize(
    ("first", "second", "told_by"),
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, "acquisition number"),
        ({"ContentTime": "101500"}, {"ContentTime": "101612"}, "time"),
    ],
    ids=["dcm2niix 721", "monai-deploy-app-sdk 532"],
)
def test_contrast_phases_under_one_series(write_series, first, second, told_by):
    """dcm2niix 721: phases that differ in Acquisition Number came out interleaved. monai-deploy-app-sdk 532: positions
    stood twice, in files of other scanner settings and times."""
    date = {"ContentDate": "20200101"}
    folder = write_series(z=PLACES * 2, each=lambda index: date | (first if index < len(PLACES) else second))
    assert [(len(part.headers), part.told_by) for part in acquisitions(read_file_set(folder).headers)] == [
        (len(PLACES), told_by)
    ] * 2


@pytest.mark.parametrize(
    "each",
    [lambda n: {"AcquisitionNumber": n}, lambda n: {"Exposure": 14 + n % 2, "XRayTubeCurrent": 100 + 9 * n}],
    ids=["dcm2niix 48: a number for each step of the table", "dcm2niix 468 and 887: exposure that varies"],
)
def test_one_scan_that_other_tools_cut_up_stays_whole(write_series, each):
    image, facts = read(write_series(z=PLACES, each=each))
    assert image.GetSize()[2] == len(PLACES)
    assert facts["told_apart"] == ""


def test_files_that_arrived_empty(write_series):
    """dcm2niix 156: 23 of 151 images could not be loaded, 0 bytes of them had come."""
    folder = write_series(z=PLACES)
    for number in range(3):
        (folder / f"lost-{number}").write_bytes(b"")
    assert outcomes(folder)["unreadable"] == "warned"


def test_a_gap_that_the_numbers_do_not_show(write_series):
    """dcm2niix 302: instance numbers run on, and places do not."""
    with pytest.raises(PatientError, match=r"slices are missing: .*7\.50 mm at"):
        read(write_series(z=[*PLACES[:6], *(z + 5.0 for z in PLACES[6:])], each=lambda n: {"InstanceNumber": n + 1}))


@pytest.mark.parametrize(
    "numbers",
    [lambda n: {"InstanceNumber": 5 + n % 2}, lambda n: {"InstanceNumber": None}],
    ids=["dcm2niix 504: numbers that repeat", "dcm2niix 341: no numbers"],
)
def test_numbers_that_say_nothing_warn_of_nothing(write_series, numbers):
    assert outcomes(write_series(z=PLACES, each=numbers))["numbering"] == "passed"


def cohort_outcomes(scans: dict[str, Path], folder: Path) -> dict[str, str]:
    patients = [Patient.model_validate({"patient_id": name, "nct": scan, "label": 0}) for name, scan in scans.items()]
    for patient in patients:
        convert_patient(patient, folder / patient.patient_id, ConvertConfig())
    return {finding.check: finding.outcome for finding in check_cohort(patients, read_records(folder, patients))}


def test_cases_that_stand_in_both_training_and_testing(write_series, tmp_path):
    """CLIP-Driven-Universal-Model 63, RIAWELC 2: test images that are training images, under another name."""
    scan = write_series("scan", PatientID="")
    shutil.copytree(scan, tmp_path / "again")
    found = cohort_outcomes({"FELIX-PDAC-1052": scan, "FELIX5490": tmp_path / "again"}, tmp_path / "convert")
    assert found == {"shared_scan": "refused", "shared_patient": "passed"}


def test_scans_of_one_person_as_two_patients(write_series, tmp_path):
    """medicaldetectiontoolkit 7: each scan of LIDC had an id of its own, and persons fell into several parts."""
    scans = {name: write_series(name, PatientID="0998", RescaleIntercept=-1024 + n) for n, name in enumerate("ab")}
    assert cohort_outcomes(scans, tmp_path / "convert") == {"shared_scan": "passed", "shared_patient": "refused"}
