"""Whose scan it is and when it was taken, without writing either."""

from datetime import datetime

import pytest

from cpmn.dicom.headers import Header, read_file_set
from cpmn.dicom.identity import acquired_at, identity_of, patient_key, uid_key


@pytest.mark.parametrize(
    ("tags", "moment"),
    [
        ({"AcquisitionDateTime": "20200102130405.123+0100"}, datetime(2020, 1, 2, 13, 4, 5)),
        ({"AcquisitionDate": "20200102", "AcquisitionTime": "130405.9"}, datetime(2020, 1, 2, 13, 4, 5)),
        ({"AcquisitionDate": "2020.01.02", "AcquisitionTime": "13:04:05"}, datetime(2020, 1, 2, 13, 4, 5)),
        ({"AcquisitionDate": "20200102", "AcquisitionTime": "1304"}, datetime(2020, 1, 2, 13, 4)),
        ({"SeriesDate": "20200103", "SeriesTime": "", "StudyDate": "20200102"}, datetime(2020, 1, 3)),
        ({"AcquisitionDate": "nonsense", "StudyDate": "20200102", "StudyTime": "0800"}, datetime(2020, 1, 2, 8)),
        # a time of the same day counts before midnight, that of another day does not
        (
            {"AcquisitionDate": "20240105", "SeriesDate": "20240105", "SeriesTime": "231000"},
            datetime(2024, 1, 5, 23, 10),
        ),
        ({"AcquisitionDate": "20240105", "SeriesDate": "20240104", "SeriesTime": "231000"}, datetime(2024, 1, 5)),
        ({"AcquisitionTime": "130405"}, None),
        ({}, None),
    ],
)
def test_when_a_slice_was_taken(tags, moment):
    assert acquired_at(Header(None, tags)) == moment  # pyright: ignore[reportArgumentType]


def test_a_series_is_as_old_as_its_earliest_slice(write_series):
    each = lambda index: {"AcquisitionDate": "20200101", "AcquisitionTime": f"1200{30 - index:02d}"}  # noqa: E731
    identity = identity_of(read_file_set(write_series(each=each)).headers)
    assert identity.acquired == datetime(2020, 1, 1, 12, 0, 19)
    assert set(identity.to_json()) == {"patient", "study", "frame_of_reference"}


def test_keys_are_equal_for_equals_and_show_nothing(write_series):
    first, second = (identity_of(read_file_set(write_series(name, PatientID=name)).headers) for name in ("a", "b"))
    again = identity_of(read_file_set(write_series("c", PatientID="a")).headers)
    assert first.patient == again.patient != second.patient
    assert "SECRET" not in first.patient
    assert len(first.patient) == 12
    assert uid_key("") == patient_key("") == ""
