"""Slices that the numbers of a series miss."""

import tracemalloc

import pytest

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.headers import Header
from cpmn.dicom.numbering import numbering_of
from cpmn.dicom.scan import read_headers


def numbering(numbers):
    return numbering_of([Header(None, {"InstanceNumber": number}) for number in numbers])  # pyright: ignore


def said(numbers) -> str:
    found = numbering(numbers)
    assert found
    return found.describe()


@pytest.mark.parametrize("numbers", [range(1, 65), range(64, 0, -1), range(0, 20), range(-5, 9)])
def test_whole_series(numbers):
    assert said(numbers) == ""


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 2, 4, 5, 6, 7], "of slices 1 to 7 there are none numbered 3"),
        (range(4, 30), "numbers begin at 4: slices may lack at the lower end"),
        (range(30, 3, -1), "numbers begin at 4: slices may lack at the upper end"),
        (
            [1, *range(12, 60)],
            "of slices 1 to 59 there are none numbered 2, 3, 4, 5, 6, 7, 8, 9 and 2 more",
        ),
        (
            [9, 8, 6, 5, 4, 3],
            "of slices 3 to 9 there are none numbered 7; numbers begin at 3: slices may",
        ),
    ],
)
def test_what_lacks(numbers, message):
    assert said(numbers).startswith(message)


@pytest.mark.parametrize("numbers", [[1, 1, 2], [None, 1, 2], [3, 1, 2], [1, 3, 5, 7, 9], [5], ["x", 1, 2]])
def test_numbers_that_say_nothing(numbers):
    assert numbering(numbers) is None


def test_a_number_far_off_is_judged_without_counting_up_to_it():
    tracemalloc.start()
    assert numbering([*range(1, 60), 2**31 - 1]) is None
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.parametrize("rows", [1, -1])  # -1: the normal of the slices points down
@pytest.mark.parametrize(("step", "end"), [(1, "lower"), (-1, "upper")])
def test_the_end_is_that_of_the_body_whichever_way_the_normal_points(write_series, rows, step, end):
    numbers = range(4, 16)[::step]
    tags = {"ImageOrientationPatient": [rows, 0, 0, 0, 1, 0], "each": lambda index: {"InstanceNumber": numbers[index]}}
    facts = read_headers(write_series(**tags), phase="nct", series_uid="", config=ConvertConfig())
    assert facts["numbering"] == f"numbers begin at 4: slices may lack at the {end} end"
