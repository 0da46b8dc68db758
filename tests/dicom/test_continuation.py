"""One chest that an archive cut into two series: joined, or refused by name."""

import pytest

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.choice import choose_series
from cpmn.dicom.headers import read_file_set
from cpmn.dicom.identity import uid_key
from cpmn.dicom.problem import SeriesProblem

LOWER, UPPER = [2.0 * i for i in range(12)], [24.0 + 2.0 * i for i in range(6)]


@pytest.fixture
def cut(write_series, tmp_path):
    """Write a scan cut into two series; `upper` changes tags of the second."""

    def write(z=UPPER, **upper):
        write_series("study/a", z=LOWER, SeriesInstanceUID="1.5")
        write_series("study/b", z=z, **({"SeriesInstanceUID": "1.6"} | upper))
        return tmp_path / "study"

    return write


def choose(folder, series_uid=""):
    return choose_series(read_file_set(folder), phase="nct", series_uid=series_uid, config=ConvertConfig())


@pytest.mark.parametrize("named", ["", "1.5", "1.6"])
def test_halves_that_agree_are_joined_whichever_is_named(cut, named):
    series = choose(cut(), named).series
    assert [header.numbers("ImagePositionPatient", 3)[2] for header in series.slices] == [*LOWER, *UPPER]  # pyright: ignore
    assert series.key == f"{uid_key('1.5')}+{uid_key('1.6')}"
    assert choose(cut(), series.key).series.key == series.key


@pytest.mark.parametrize(
    ("tags", "difference"),
    [
        ({"KVP": 100}, "tube voltage"),
        ({"ConvolutionKernel": "B70f"}, "kernel"),
        ({"FrameOfReferenceUID": "9.9"}, "frame of reference"),
        ({"StudyInstanceUID": "8.8"}, "StudyInstanceUID"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, "ImageType"),
        ({"PatientID": "OTHER"}, "patient"),
    ],
)
def test_halves_that_differ_are_refused_with_what_differs(cut, tags, difference):
    with pytest.raises(SeriesProblem, match=f"ends where .* begins, and they differ in {difference}"):
        choose(cut(**tags))


def test_a_half_that_is_named_is_taken(cut):
    assert choose(cut(KVP=100), "1.5").series.key == uid_key("1.5")


@pytest.mark.parametrize("z", [[28.0 + 2.0 * i for i in range(6)], [10.0 + 2.0 * i for i in range(6)]])
def test_series_that_do_not_continue_each_other_stay_apart(cut, z):
    assert choose(cut(z)).series.key == uid_key("1.5")


def test_two_whole_chests_above_each_other_stay_apart(write_series, tmp_path):
    write_series("study/a", z=[6.0 * i for i in range(50)], SeriesInstanceUID="1.5")
    write_series("study/b", z=[300.0 + 6.0 * i for i in range(50)], SeriesInstanceUID="1.6", ConvolutionKernel="B70f")
    with pytest.raises(SeriesProblem, match="2 series suit equally"):
        choose(tmp_path / "study")


def test_an_unrelated_pair_that_differs_keeps_no_other_half_away(cut, write_series):
    folder = cut()
    write_series("study/c", z=[900.0 + 2 * i for i in range(12)], SeriesInstanceUID="1.1")
    write_series("study/d", z=[924.0 + 2 * i for i in range(12)], SeriesInstanceUID="1.2", KVP=80)
    for named in ("1.5", "1.6"):
        assert len(choose(folder, named).series.slices) == len(LOWER) + len(UPPER)
    assert len(choose(folder, "1.1").series.slices) == 12
