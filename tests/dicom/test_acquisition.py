"""Acquisitions that share a series, told apart, and single ones left whole."""

import numpy as np
import pytest

from cpmn.dicom.acquisition import acquisitions, differing
from cpmn.dicom.headers import read_file_set

PASS = [4.0 * i for i in range(12)]
BETWEEN = [4.0 * i + 2.0 for i in range(12)]


def parts(folder):
    return [(len(part.headers), part.told_by) for part in acquisitions(read_file_set(folder).headers)]


def by_half(first: dict, second: dict, count: int = 12):
    return lambda index: first if index < count else second


@pytest.mark.parametrize(
    ("first", "second", "told_by"),
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, "acquisition number"),
        ({"AcquisitionTime": "120000"}, {"AcquisitionTime": "120035"}, "time"),
        ({"KVP": 120}, {"KVP": 100}, "tube voltage"),
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}, "kernel"),
        ({"FrameOfReferenceUID": "1.1"}, {"FrameOfReferenceUID": "1.2"}, "frame of reference"),
        ({"ContrastBolusAgent": "", "KVP": 120}, {"ContrastBolusAgent": "Iomeron", "KVP": 100}, "tube voltage and"),
    ],
)
def test_breath_holds_half_a_gap_apart(write_series, first, second, told_by):
    """Inspiration and expiration under one series: evenly spaced as a whole, and no one volume."""
    date = {"AcquisitionDate": "20200101"}
    folder = write_series(z=PASS + BETWEEN, each=by_half(date | first, date | second))
    (one, by), (other, _) = parts(folder)
    assert (one, other) == (12, 12)
    assert by.startswith(told_by)


def test_the_numbering_tells_where_nothing_else_does(write_series):
    """dcm2niix issue 248 and kin: a second pass is numbered after the first, from the top again."""
    numbers = lambda index: {"InstanceNumber": index + 1}  # noqa: E731
    assert parts(write_series(z=PASS + PASS, each=numbers)) == [(12, "slice number")] * 2


@pytest.mark.parametrize(
    ("tags", "told_by"),
    [
        ({"KVP": 100}, "tube voltage"),
        ({"ConvolutionKernel": "B70f"}, "kernel"),
        ({"FrameOfReferenceUID": "1.2"}, "frame of reference"),
        ({"ContrastBolusAgent": "Iomeron"}, "contrast agent"),
    ],
)
def test_an_upper_half_of_another_acquisition(write_series, tags, told_by):
    lower = {"KVP": 120, "ConvolutionKernel": "B30f", "FrameOfReferenceUID": "1.1", "ContrastBolusAgent": "NONE"}
    folder = write_series(z=[2.0 * i for i in range(24)], each=by_half(lower, lower | tags))
    assert parts(folder) == [(12, told_by)] * 2


@pytest.mark.parametrize(
    "each",
    [
        lambda index: {"AcquisitionNumber": index // 2},  # a table that moves step by step, two slices a step
        lambda index: {"AcquisitionNumber": index},
        lambda index: {"AcquisitionDate": "20200101", "AcquisitionTime": f"1200{index:02d}"},
        lambda index: {"AcquisitionDate": "20200101", "AcquisitionTime": "115959" if index < 12 else "120100"},
        lambda index: {"InstanceNumber": (index * 7) % 24},  # numbered at random
        lambda index: {"InstanceNumber": 1},
    ],
)
def test_one_acquisition_stays_whole(write_series, each):
    assert parts(write_series(z=[2.0 * i for i in range(24)], each=each)) == [(24, "")]


def test_what_nothing_tells_apart_stays_for_the_image_to_say(write_series):
    each = lambda index: {"InstanceNumber": 1}  # noqa: E731
    assert parts(write_series(z=PASS + BETWEEN, each=each)) == [(24, "")]


def test_slices_without_a_place_stay_together(write_series):
    assert parts(write_series(ImagePositionPatient=None, each=lambda i: {"AcquisitionNumber": i % 2})) == [(12, "")]


def test_the_facts_in_which_two_slices_differ(write_series):
    folder = write_series(z=[0.0, 1.0], each=by_half({"KVP": 120}, {"KVP": 100}, 1))
    assert differing(*read_file_set(folder).headers) == ["tube voltage"]


def test_every_slice_is_in_exactly_one_part(write_series):
    random = np.random.default_rng(0)
    tags = [{"KVP": int(random.choice([100, 120])), "AcquisitionNumber": int(random.integers(3))} for _ in range(30)]
    headers = read_file_set(write_series(z=random.uniform(0, 90, 30).round(1), each=lambda index: tags[index])).headers
    found = [header.path for part in acquisitions(headers) for header in part.headers]
    assert sorted(found) == sorted(header.path for header in headers)
