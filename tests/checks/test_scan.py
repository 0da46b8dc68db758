"""The facts of one scan against each other: what it is given as, what its tags say, what its image shows."""

from pathlib import Path

import pydicom
import pytest

from cpmn.checks.scan import check_headers, check_scan
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan


def read(source: Path, phase: str = "nct"):
    return read_scan(source, patient="p", phase=phase, series_uid="", config=ConvertConfig())


@pytest.fixture
def described(phantom, tmp_path):
    """A phase of the phantom under another description, which names no agent."""

    def copy(phase: str, description: str) -> Path:
        for path in (phantom / phase).iterdir():
            dataset = pydicom.dcmread(path)
            dataset.SeriesDescription, dataset.ContrastBolusAgent = description, ""
            dataset.save_as(tmp_path / path.name)
        return tmp_path

    return copy


def outcomes(findings) -> dict[str, str]:
    return {finding.check: finding.outcome for finding in findings}


@pytest.mark.parametrize("description", ["WITHOUT AND WITH CONTRAST", "CHEST W/WO", "Thorax nativ", "PRE 3.5 mm"])
def test_a_contrast_scan_is_no_nct_whatever_it_is_called(described, description):
    folder = described("ctpa", description)
    assert outcomes(check_headers(read(folder)[1], "nct"))["contrast"] == "refused"
    found = outcomes(check_headers(read(folder, "ctpa")[1], "ctpa"))
    assert found["contrast"] in ("passed", "warned")


@pytest.mark.parametrize("description", ["CTPA 1.25", "POST 6 mm"])
def test_a_scan_without_contrast_is_no_ctpa_whatever_it_is_called(described, description):
    assert outcomes(check_headers(read(described("nct", description), "ctpa")[1], "ctpa"))["contrast"] == "refused"


@pytest.mark.parametrize(
    ("tags", "of_nct", "of_ctpa"),
    [
        ({"SeriesDescription": "VNC 1.0 Q40f"}, "refused", "refused"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_REMOVED"]}, "refused", "refused"),
        ({"SeriesDescription": "Iodine Map"}, "refused", "refused"),
        ({"SeriesDescription": "MonoE 70keV"}, "refused", "warned"),
        ({"SeriesDescription": "Thorax 1.0"}, "passed", "passed"),
    ],
)
def test_a_computed_image_instead_of_a_measured_one(write_series, tags, of_nct, of_ctpa):
    facts = read(write_series(**tags))[1]
    assert [outcomes(check_headers(facts, phase))["virtual"] for phase in ("nct", "ctpa")] == [of_nct, of_ctpa]


def test_a_cause_is_named_before_what_follows_from_it(phantom):
    """Voxels of 1 mm from the origin put the spine where the heart is sought."""
    image, facts = read(phantom / "nct")
    image.SetSpacing((1.0, 1.0, 1.0))
    image.SetOrigin((0.0, 0.0, 0.0))
    wrong = {"evidence": "present", "from": "image", "blood_hu": 223.2}
    findings = check_scan(image, facts | {"source": "image file", "contrast": wrong}, "nct")
    assert [finding.check for finding in findings if finding.outcome == "refused"] == ["geometry", "contrast"]
