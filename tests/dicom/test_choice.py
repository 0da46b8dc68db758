"""Which series of a folder is taken for a phase, rule by rule."""

import pytest

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.choice import choose_series
from cpmn.dicom.contrast import contrast_evidence
from cpmn.dicom.headers import read_file_set
from cpmn.dicom.identity import uid_key
from cpmn.dicom.problem import SeriesProblem

WHOLE = [4.0 * i for i in range(50)]


def choose(folder, phase="nct", **config):
    return choose_series(read_file_set(folder), phase=phase, series_uid="", config=ConvertConfig(**config))


@pytest.mark.parametrize(
    ("tags", "evidence"),
    [
        ({}, "unknown"),
        ({"ContrastBolusAgent": ""}, "unknown"),
        ({"ContrastBolusAgent": "Iomeron 400"}, "present"),
        ({"ContrastBolusAgent": "NONE"}, "absent"),
        ({"ContrastBolusAgent": "Gastrografin", "ContrastBolusRoute": "ORAL"}, "unknown"),
        ({"SeriesDescription": "Thorax nativ 1.0 B30f", "ContrastBolusAgent": "Iomeron"}, "absent"),
        ({"SeriesDescription": "CHEST W/O 5mm"}, "absent"),
        ({"SeriesDescription": "Thorax_non-contrast"}, "absent"),
        ({"SeriesDescription": "CTPA 1.25"}, "present"),
        ({"SeriesDescription": "Angio Lunge"}, "present"),
        ({"SeriesDescription": "THORAX C+"}, "present"),
        ({"SeriesDescription": "ThoraxRoutine  8.0.0  B40f"}, "unknown"),
        ({"SeriesDescription": "CT Body 3.0"}, "unknown"),
    ],
)
def test_contrast_evidence(write_series, tags, evidence):
    header = read_file_set(write_series(z=[0], **tags)).headers[0]
    assert contrast_evidence(header).evidence == evidence


# better series, worse series, the phase, the rule that decides
DUELS = [
    ({"ContrastBolusAgent": "Iomeron"}, {"z": [1.0 * i for i in range(200)]}, "ctpa", "contrast as expected"),
    ({}, {"z": [1.0 * i for i in range(200)], "ContrastBolusAgent": "Iomeron"}, "nct", "contrast as expected"),
    ({}, {"z": [1.0 * i for i in range(200)], "SeriesDescription": "VNC 1.0"}, "nct", "measured, not computed"),
    ({}, {"SeriesDescription": "Iodine Map", "ContrastBolusAgent": "Iomeron"}, "ctpa", "measured, not computed"),
    ({}, {"z": [1.0 * i for i in range(20)]}, "nct", "full coverage"),
    ({}, {"z": [2.0 * i for i in range(90)], "ImageType": ["DERIVED", "SECONDARY"]}, "nct", "primary reconstruction"),
    ({}, {"z": [2.0 * i for i in range(90)], "ConvolutionKernel": "B70f"}, "nct", "preferred kernel"),
    ({}, {"z": [5.0 * i for i in range(40)]}, "nct", "thinnest slices"),
]


@pytest.mark.parametrize(("better", "worse", "phase", "rule"), DUELS)
@pytest.mark.parametrize("swapped", [False, True])
def test_each_rule_decides(write_series, tmp_path, better, worse, phase, rule, swapped):
    uids = ("1.7", "1.8") if swapped else ("1.8", "1.7")
    write_series("study/a", **({"z": WHOLE, "SeriesInstanceUID": uids[0]} | better))
    write_series("study/b", **({"z": WHOLE, "SeriesInstanceUID": uids[1]} | worse))
    kernel = "B30f" if rule == "preferred kernel" else ""
    choice = choose(tmp_path / "study", phase, preferred_kernel=kernel)
    assert choice.series.uid == uids[0]
    assert choice.reason == f"first by the rule '{rule}'"
    assert [item["reason"] for item in choice.rejected] == [f"behind by the rule '{rule}'"]


def visits(write_series, tmp_path, *dates):
    """A study folder of one NCT for each date."""
    for n, date in enumerate(dates):
        stamp = {"StudyDate": date, "AcquisitionDate": date, "AcquisitionTime": "120000"}
        write_series(f"study/{n}", z=WHOLE, SeriesInstanceUID=f"1.{n + 5}", StudyInstanceUID=f"2.{n}", **stamp)
    return tmp_path / "study"


def test_scans_of_two_visits_in_one_folder_are_refused(write_series, tmp_path):
    """dcm2niix 252: a series stands twice in a folder, of two dates."""
    folder = visits(write_series, tmp_path, "20190305", "20210305")
    with pytest.raises(SeriesProblem, match="series of several visits, 731 days apart, suit as NCT"):
        choose(folder)
    assert (
        choose_series(read_file_set(folder), phase="nct", series_uid="1.6", config=ConvertConfig()).series.uid == "1.6"
    )


def test_series_that_cannot_be_used_are_rejected_with_reasons(write_series, tmp_path):
    write_series("study/chest")
    write_series("study/few", z=range(5), SeriesInstanceUID="1.1")
    write_series("study/sagittal", SeriesInstanceUID="1.2", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    write_series("study/mip", SeriesInstanceUID="1.3", ImageType=["DERIVED", "SECONDARY", "AXIAL", "MIP"])
    write_series("study/screen", z=[0], SeriesInstanceUID="1.4", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    write_series("study/gap", SeriesInstanceUID="1.5", z=[*range(9), *range(20, 29)])
    choice = choose(tmp_path / "study")
    reasons = {item["series"].split()[1]: item["reason"] for item in choice.rejected}
    assert choice.reason == "only usable series"
    assert reasons[uid_key("1.1")] == "the series has 5 CT slices, at least 10 are needed"
    assert reasons[uid_key("1.2")] == "the slices are not axial"
    assert "MIP" in reasons[uid_key("1.3")]
    assert "secondary capture" in reasons[uid_key("1.4")]
    assert "12.00 mm at 8.00 mm" in reasons[uid_key("1.5")]


def test_no_usable_series_lists_all_of_them(write_series, tmp_path):
    write_series("study/few", z=range(5), SeriesInstanceUID="1.1")
    write_series("study/mr", SeriesInstanceUID="1.2", Modality="MR")
    with pytest.raises(SeriesProblem, match=r"no usable CT series: .*5 CT slices.*modality is MR"):
        choose(tmp_path / "study")
