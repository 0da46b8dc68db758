"""Paths as spreadsheets carry them."""

import re
import unicodedata

import pytest

from cpmn.cohort.paths import located, odd_spelling, visible
from cpmn.cohort.sheet import load_cohort, missing_files

HEAD = "patient_id,ctpa,nct,ctpa_mask,label\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("scans/müller", "scans/plain", "scans/two words"):
        (tmp_path / unicodedata.normalize("NFC", name)).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("scans/plain", "plain"),
        (r"scans\plain", "plain"),
        ("scans/pl\u200bain", "plain"),
        ("\ufeffscans/plain\u00a0", "plain"),
        ("scans/two words", "two words"),
        (unicodedata.normalize("NFD", "scans/müller"), "müller"),
        (unicodedata.normalize("NFC", "scans/müller"), "müller"),
    ],
)
def test_what_is_meant_is_found(folder, text, name):
    assert located(folder, text) == folder / "scans" / name


def test_a_letter_in_two_pieces_on_disk_is_found_by_one(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "müller")).mkdir()
    assert located(tmp_path, unicodedata.normalize("NFC", "müller")).exists()


def test_what_exists_as_written_is_taken_as_written(tmp_path):
    (tmp_path / "odd\u200bname").mkdir()
    (tmp_path / "oddname").mkdir()
    assert located(tmp_path, "odd\u200bname").name == "odd\u200bname"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"C:\scans\p1", r"does not exist: it is a Windows path \(C:\)"),
        ("C:/scans/p1", r"does not exist: it is a Windows path \(C:\)"),
        (r"scans\nobody", "does not exist: it holds backslashes: write /"),
        ("scans/no\u200bbody", r"does not exist: it holds an invisible character, U\+200B"),
        ("scans/nobody", "does not exist$"),
    ],
)
def test_a_path_that_is_not_there_says_why(folder, text, message):
    (folder / "cohort.csv").write_text(f'{HEAD}p1,,"{text}",,0\n', encoding="utf-8")
    (patient,) = load_cohort(folder / "cohort.csv")
    (problem,) = missing_files(patient)
    assert re.search(message, problem), problem


def test_invisible_characters_in_an_id_do_not_count(folder):
    (folder / "cohort.csv").write_text(f"{HEAD}\u200bp1\u00a0,,scans/plain,,0\u200b\n", encoding="utf-8")
    (patient,) = load_cohort(folder / "cohort.csv")
    assert (patient.patient_id, patient.label) == ("p1", 0)


def test_nothing_odd_is_said_of_a_plain_path(tmp_path):
    assert odd_spelling(tmp_path / "nobody") == ""
    assert visible(" a b ") == "a b"
