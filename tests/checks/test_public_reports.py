"""Inputs that people reported of other tools, made anew, with the report's project and number.

What is asked is what a pipeline must not do in silence: take a scan for another phase, stack two acquisitions, lose
slices, or train on what it tests.
"""

import shutil
from pathlib import Path

import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import JPEG2000Lossless

from cpmn.checks.cohort import check_cohort, read_records
from cpmn.checks.scan import check_scan
from cpmn.cohort.masks import read_mask
from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_patient
from cpmn.dicom.acquisition import acquisitions
from cpmn.dicom.headers import read_file_set
from cpmn.dicom.scan import read_scan
from cpmn.errors import CpmnError, PatientError
from tests.dicom.conftest import stored_values

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
    """RadGPT 8: the column is empty, which says neither with nor without; TotalSegmentator 12: there is none. The image
    does."""
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
    [
        lambda n: {"AcquisitionNumber": n},
        lambda n: {"Exposure": 14 + n % 2, "XRayTubeCurrent": 100 + 9 * n},
        lambda n: {"SeriesDescription": f"CHEST W/WO 09-05-{18 + n // 6}"},
        lambda n: {"InstanceNumber": 1 + 5 * n % 12},
    ],
    ids=[
        "dcm2niix 48: a number for each step of the table",
        "dcm2niix 468 and 887: exposure that varies",
        "dcm2niix 382: a description with the time of each slice",
        "dcm2niix 786: numbers of a CT in another order than its places",
    ],
)
def test_one_scan_that_other_tools_cut_up_stays_whole(write_series, each):
    image, facts = read(write_series(z=PLACES, each=each))
    assert image.GetSize()[2] == len(PLACES)
    assert facts["told_apart"] == ""


def test_two_computed_images_under_one_series(write_series):
    """dcm2niix 300: a MEAN and a MEAN MEAN image of the same numbers and places came out as one stack, in stripes."""
    kind = ["DERIVED", "SECONDARY", "AXIAL", "MEAN"]
    each = lambda n: {"InstanceNumber": 1 + n % 12, "ImageType": kind if n < 12 else [*kind, "MEAN"]}  # noqa: E731
    with pytest.raises(PatientError, match="several slices lie at the same position"):
        read(write_series(z=PLACES * 2, each=each))


def test_copies_of_slices_that_an_archive_added(write_series):
    """dcm2niix 837: files named (1) and (2) hold the same bytes, and other slices are not there."""
    folder = write_series(z=PLACES)
    for path in sorted(folder.iterdir())[:2]:
        shutil.copy(path, f"{path}(1)")
    with pytest.raises(PatientError, match=r"several slices lie at the same position: .* mm \(2 slices\)"):
        read(folder)


def test_files_that_arrived_empty(write_series):
    """dcm2niix 156: 23 of 151 images could not be loaded, 0 bytes of them had come."""
    folder = write_series(z=PLACES)
    for number in range(3):
        (folder / f"lost-{number}").write_bytes(b"")
    assert outcomes(folder)["unreadable"] == "warned"


@pytest.mark.parametrize(("name", "content"), [(".snakemake_timestamp", b""), ("._00000.dcm", b"Mac OS X")])
def test_hidden_files_of_other_programs_are_no_slices(write_series, name, content):
    folder = write_series(z=PLACES)
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(f"{path.name}.dcm"))
    (folder / name).write_bytes(content)
    assert outcomes(folder)["unreadable"] == "passed"


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
    """medicaldetectiontoolkit 7: each scan of LIDC had an id of its own, and persons fell into several parts;
    TotalSegmentator 569: 1,204 scans are of 1,134 subjects, and which is not said."""
    scans = {name: write_series(name, PatientID="0998", RescaleIntercept=-1024 + n) for n, name in enumerate("ab")}
    assert cohort_outcomes(scans, tmp_path / "convert") == {"shared_scan": "passed", "shared_patient": "refused"}


def test_two_patient_numbers_in_one_study(write_series, tmp_path):
    """RSNA/anonymizer 18: an archive mixes patient numbers within one study."""
    scans = {
        phase: write_series(phase, PatientID=number, StudyInstanceUID="1.2.9", RescaleIntercept=intercept)
        for phase, number, intercept in (("nct", "one", -1024), ("ctpa", "two", -900))
    }
    row = {"patient_id": "p", "label": 0, **scans}
    with pytest.raises(PatientError, match="the NCT and the CTPA are of different patients"):
        convert_patient(Patient.model_validate(row), tmp_path / "out", ConvertConfig())


def test_a_name_that_is_spelt_in_two_ways_is_one_patient(write_series, tmp_path):
    """CTK 275: 'PHANTOM, fourD' and 'PHANTOM^FourD^^' were two patients; the number decides, the name never."""
    spelt = {"a": "PHANTOM, fourD", "b": "PHANTOM^FourD^^"}
    scans = {
        name: write_series(name, PatientID="77", PatientName=who, RescaleIntercept=-1024 + n)
        for n, (name, who) in enumerate(spelt.items())
    }
    assert cohort_outcomes(scans, tmp_path / "convert")["shared_patient"] == "refused"


@pytest.mark.parametrize("number", [None, ""])
def test_scans_without_a_number_are_not_one_patient(write_series, tmp_path, number):
    """shanoir-ng 3160, Slicer 2040: files whose PatientID lacks or is empty; lacking it alike makes nobody the same
    person."""
    scans = {name: write_series(name, PatientID=number, RescaleIntercept=-1024 + n) for n, name in enumerate("ab")}
    assert cohort_outcomes(scans, tmp_path / "convert") == {"shared_scan": "passed", "shared_patient": "passed"}


def test_a_slice_without_its_rescale(write_series):
    """dcm2niix 973: one file lacks slope and intercept, and came out with other values than the rest."""
    gone = {"RescaleSlope": None, "RescaleIntercept": None}
    with pytest.raises(PatientError, match="Rescale"):
        read(write_series(z=PLACES, each=lambda n: gone if n == 5 else {}))


def test_slopes_that_differ_from_slice_to_slice(write_series):
    """dcm2niix 978: each slice has a slope of its own, and each is applied."""
    image, _ = read(write_series(z=PLACES, each=lambda n: {"RescaleSlope": 1 + n % 2, "RescaleIntercept": 0}))
    hu = sitk.GetArrayFromImage(image)
    assert [int(one[0, 0]) for one in hu[:2]] == [int(stored_values(0)[0, 0]), 2 * int(stored_values(1)[0, 0])]


def test_places_that_are_rounded_are_no_gaps(write_series):
    """dicom2nifti 36: two series were refused for slice increments that differ by the rounding of their tags."""
    image, _ = read(write_series(z=[round(z + 0.004 * (-1) ** n, 3) for n, z in enumerate(PLACES)]))
    assert image.GetSpacing()[2] == pytest.approx(STEP_MM, abs=0.01)


@pytest.mark.parametrize("name", ["à", "a\u0300 Größe", "ДИКОМ"])
def test_compressed_slices_under_letters_of_any_script(phantom, tmp_path, name):
    """pydicom 239 and 1780, merged as 459: a decoder could not open a path with an accent, and a TypeError came of
    it."""
    folder = tmp_path / name
    shutil.copytree(phantom / "nct", folder)
    plain = sitk.GetArrayFromImage(read(folder)[0])
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(JPEG2000Lossless)
        dataset.save_as(path)
    assert (sitk.GetArrayFromImage(read(folder)[0]) == plain).all()


def test_a_thumbnail_in_a_slice_is_not_the_slice(write_series):
    """dcm2niix 239: one slice of 208 was left out for the size and the bits of the icon inside its file."""
    icon = pydicom.Dataset()
    icon.Rows = icon.Columns = 4
    icon.BitsAllocated = icon.BitsStored = 8
    icon.PixelData = bytes(16)
    image, _ = read(write_series(z=PLACES, each=lambda n: {"IconImageSequence": [icon]} if n == 5 else {}))
    assert image.GetSize()[2] == len(PLACES)


GRID = sitk.Image([16, 12, 10], sitk.sitkInt16)
GRID.SetSpacing((0.8, 0.8, 2.5))
GRID.SetOrigin((-123.0, -115.3, 71.4))


def placed(folder: Path, change=lambda mask: mask, suffix: str = "nii.gz") -> tuple[Patient, Path]:
    """A mask of one voxel drawn on `GRID`, then changed, as a file."""
    mask = sitk.Cast(GRID, sitk.sitkUInt8)
    mask[4, 5, 6] = 1
    path = folder / f"mask.{suffix}"
    sitk.WriteImage(change(mask), str(path))
    return Patient.model_validate({"patient_id": "p", "nct": folder, "label": 1}), path


def with_geometry(**values):
    """Gives a change: the same voxels under another geometry."""

    def change(mask: sitk.Image) -> sitk.Image:
        for name, value in values.items():
            getattr(mask, f"Set{name}")(value)
        return mask

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: sitk.Shrink(mask, [4, 4, 1]),
        lambda mask: mask[2:12, 2:10, 3:9],
        with_geometry(Origin=(-124.5, -124.5, -74.25)),
        with_geometry(Spacing=(1.0, 1.0, 1.0), Origin=(0.0, 0.0, 0.0)),
    ],
    ids=[
        "nnU-Net 1267: labels of 128 x 128 for images of 512 x 512",
        "Slicer 5754: saved at its minimum extent",
        "nnU-Net 2551: the origin of another program",
        "Seg3D 371: voxels of 1 mm from the origin",
    ],
)
def test_masks_on_another_grid_are_refused_with_both_grids(tmp_path, change):
    patient, path = placed(tmp_path, change)
    with pytest.raises(PatientError, match=r"another grid than the NCT: .*, not 16x12x10 voxels of 0\.8x0\.8x2\.5 mm"):
        read_mask(patient, path, GRID, "NCT")


@pytest.mark.parametrize(
    ("change", "suffix"),
    [
        (with_geometry(Direction=(1, 1.7e-8, 0, -1.7e-8, 1, 2e-8, 0, -2e-8, 1)), "nrrd"),
        (lambda mask: sitk.DICOMOrient(mask, "RAS"), "nrrd"),
        (with_geometry(Origin=(-123.0004, -115.2997, 71.4004)), "nii.gz"),
    ],
    ids=[
        "nnU-Net 1287: directions that differ by 2e-8",
        "pyradiomics 482: a nrrd of Slicer, a nii of dcm2niix: axes turned",
        "pyradiomics 482: the same, rounded",
    ],
)
def test_masks_whose_headers_differ_and_whose_voxels_do_not(tmp_path, change, suffix):
    patient, path = placed(tmp_path, change, suffix)
    mask = read_mask(patient, path, GRID, "NCT")
    assert mask[4, 5, 6] == 1
    assert sitk.GetArrayViewFromImage(mask).sum() == 1


SHEET = "patient_id,ctpa,nct,ctpa_mask,label\n0007,,scan,,0\n030611,,other,,0\n"


@pytest.mark.parametrize(
    "text",
    ["\ufeff" + SHEET, "\ufeff" + SHEET.replace("\n", "\r\n")],
    ids=["javarosa 687: a byte order mark before the first column", "csv-parse 284: and lines that end as on Windows"],
)
def test_sheets_as_spreadsheets_leave_them(tmp_path, text):
    """And tableExport 103: ids keep the zeros that they begin with."""
    (tmp_path / "cohort.csv").write_bytes(text.encode())
    patients = load_cohort(tmp_path / "cohort.csv")
    assert [patient.patient_id for patient in patients] == ["0007", "030611"]
    assert patients[0].nct == tmp_path / "scan"


def test_a_patient_in_several_parts(tmp_path):
    """COVID-CT 11: 'p23' stood in the lists of training, validation and testing."""
    rows = [f"p23,,scan{n},,0,{part}" for n, part in enumerate(("train", "validation", "test"))]
    (tmp_path / "cohort.csv").write_text("\n".join(["patient_id,ctpa,nct,ctpa_mask,label,split", *rows]) + "\n")
    with pytest.raises(CpmnError, match="patient_id 'p23' stands in 3 rows"):
        load_cohort(tmp_path / "cohort.csv")
