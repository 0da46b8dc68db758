"""Atomic writing and hashing."""

import json
import math

import numpy as np
import pytest

from cpmn.files import read_json, sha256_of_files, write_json, written_atomically


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), written_atomically(path) as temporary:
        temporary.write_text((tmp_path / "absent").read_text())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_null_where_a_number_is_not_defined(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.nan, "b": np.float32(np.inf), "c": np.arange(2), "d": {"e": (1, 2.5)}})
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert read_json(tmp_path / "a.json") == {"a": None, "b": None, "c": [0, 1], "d": {"e": [1, 2.5]}}


def test_plain_json_survives(tmp_path):
    data = {"text": "µm <b>", "none": None, "yes": True, "n": 3}
    write_json(tmp_path / "a.json", data)
    assert json.loads((tmp_path / "a.json").read_text()) == data


def test_hash_depends_on_contents_alone(tmp_path):
    for name, text in {"a": "1", "b": "2", "c": "1", "d": "2", "e": "3"}.items():
        (tmp_path / name).write_text(text)
    first = sha256_of_files([tmp_path / "a", tmp_path / "b"])
    assert first == sha256_of_files([tmp_path / "d", tmp_path / "c"])
    assert first != sha256_of_files([tmp_path / "a", tmp_path / "e"])
