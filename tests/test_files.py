"""Atomic writing and hashing."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from cpmn.files import (
    files_of,
    read_frame,
    read_json,
    read_test_rows,
    remove_unfinished,
    sha256_of_files,
    write_json,
    write_table,
    write_text,
    written_atomically,
)
from cpmn.job.dependencies import listing


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), written_atomically(path) as temporary:
        temporary.write_text((tmp_path / "absent").read_text())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_contents_are_on_the_disk_before_the_file_gets_its_name(tmp_path, monkeypatch):
    """After a loss of power there is the old file or the whole new one."""
    done, sync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (sync(file), done.append(f"synced {os.fstat(file).st_size} bytes")))
    monkeypatch.setattr(Path, "replace", lambda one, other: (done.append("named"), replace(one, other))[1])
    write_text(tmp_path / "status.json", "12345")
    assert done == ["synced 5 bytes", "named"]


def test_json_has_null_where_a_number_is_not_defined(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.nan, "b": np.float32(np.inf), "c": np.arange(2), "d": {"e": (1, 2.5)}})
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert read_json(tmp_path / "a.json") == {"a": None, "b": None, "c": [0, 1], "d": {"e": [1, 2.5]}}


@pytest.mark.parametrize("text", ['{"a": NaN}', "[-Infinity]", '{"a": [1e999]}', "[" * 100_000, "{"])
def test_json_that_holds_no_number_or_has_no_end_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"no number|nested too deeply|Expecting"):
        read_json(tmp_path / "a.json")


def test_others_may_read_what_is_written_as_the_umask_says(tmp_path):
    """safetensors leaves its files to their owner alone."""
    with written_atomically(tmp_path / "a") as temporary:
        temporary.write_text("x")
        temporary.chmod(0o600)
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


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


def test_a_table_keeps_digits_whole_numbers_and_empty_cells(tmp_path):
    rows = [
        {"name": "a, b", "count": 3, "share": 0.1 + 0.2, "other": 1},
        {"name": None, "count": None, "share": math.nan},
        {"name": True, "count": np.int64(4), "share": np.float64(1e-17)},
        {"share": 2, "count": np.float32(0.1)},
    ]
    write_table(tmp_path / "a.csv", ("name", "count", "share"), rows)
    written = (tmp_path / "a.csv").read_bytes().decode().split("\n")
    assert written == ["name,count,share", '"a, b",3,0.30000000000000004', ",,", "True,4,1e-17", ",0.1,2", ""]


def test_a_table_without_rows_has_its_header(tmp_path):
    write_table(tmp_path / "a.csv", ("name", "count"), [])
    assert (tmp_path / "a.csv").read_text() == "name,count\n"


def test_test_patients_keep_their_names_and_every_digit(tmp_path):
    text = "patient_id,split,score\n007,test,0.30000000000000004\nNA,test,\nv,validation,1\n"
    (tmp_path / "patients.csv").write_text(text)
    table = read_test_rows(tmp_path / "patients.csv")
    assert table.index.tolist() == ["007", "NA"]
    assert table["score"].iloc[0] == 0.1 + 0.2
    assert math.isnan(table["score"].iloc[1])


def test_what_is_half_written_is_removed_from_the_folders_and_nothing_else(tmp_path):
    (tmp_path / "deep/deeper").mkdir(parents=True)
    for name in (".writing-1-a", "deep/.writing-2-b.nii.gz", "deep/deeper/.writing-3-c", "kept", "deep/.hidden"):
        (tmp_path / name).write_text("x")
    remove_unfinished(tmp_path, tmp_path / "deep", tmp_path / "absent")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".hidden", ".writing-3-c", "kept"]


def test_files_in_the_making_have_names_that_are_known(tmp_path):
    with written_atomically(tmp_path / "a") as temporary:
        temporary.write_text("x")
        remove_unfinished(tmp_path)
        assert not temporary.exists()
        temporary.write_text("x")


def test_names_of_digits_stay_text(tmp_path):
    (tmp_path / "a.csv").write_text("patient_id,variant,versus,value\n007,1,01,2\n008,2,,3\n")
    frame = read_frame(tmp_path / "a.csv")
    assert frame["variant"].tolist() == ["1", "2"]
    assert frame["versus"].tolist()[0] == "01"
    assert frame["versus"].isna().tolist() == [False, True]


VOXELS_NAMED = {
    "another name": ("scan.mhd", "ElementDataFile = voxels/other data.raw", ["voxels/other data.raw"]),
    "a name of NRRD": ("scan.nhdr", "NRRD0004\ntype: short\ndata file: ../other.raw.gz\r\n\n", ["../other.raw.gz"]),
    "an older name of NRRD": ("scan.nhdr", "NRRD0001\ndatafile: ./other.raw", ["other.raw"]),
    "a list": ("scan.mhd", "ElementDataFile = LIST 2D\na.raw\nvoxels/b.raw\ngone.raw", ["a.raw", "voxels/b.raw"]),
    "a list of NRRD": ("scan.nhdr", "NRRD0004\ndata file: LIST\na.raw\nb.raw\n", ["a.raw", "b.raw"]),
    "a pattern": ("scan.mhd", "ElementDataFile = s(1)%03d.raw 1 2 1", ["s(1)001.raw", "s(1)002.raw"]),
    "a pattern of NRRD": (
        "scan.nhdr",
        "NRRD0004\ndata file: voxels/%d.raw 9 10 1 2",
        ["voxels/10.raw", "voxels/9.raw"],
    ),
    "its own": ("scan.mhd", "ElementDataFile = LOCAL\n", []),
    "a note that looks like a name": ("scan.nhdr", "NRRD0004\ndata file:=a.raw\n\ndata file: a.raw", []),
}


@pytest.mark.parametrize("name", VOXELS_NAMED)
def test_to_a_header_belong_the_voxels_that_it_names(tmp_path, name):
    header, text, expected = VOXELS_NAMED[name]
    folder = tmp_path / "scans"
    (folder / "voxels").mkdir(parents=True)
    for other in ("a.raw", "b.raw", "voxels/b.raw", *expected):
        (folder / other).write_text("x")
    (folder / header).write_bytes(text.encode())
    assert files_of(folder / header) == [folder / header, *(folder / one for one in expected)]
    before = listing(folder / header)
    for one in expected:
        (folder / one).write_text("other")
        assert before != (before := listing(folder / header))
