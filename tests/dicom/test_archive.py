"""Zipped scans: the same result as the folder, and nothing in an archive that can do harm."""

import fcntl
import os
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom import archive
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError


def convert(source: Path, **config):
    return read_scan(source, patient="p1", phase="nct", series_uid="", config=ConvertConfig(**config))


def message(source: Path, **config) -> str:
    with pytest.raises(PatientError) as caught:
        convert(source, **config)
    return str(caught.value)


def zip_files(target: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", method) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return target


@pytest.fixture
def slices(write_series) -> dict[str, bytes]:
    return {f"disc/{number % 3}/IM{number}": p.read_bytes() for number, p in enumerate(write_series().iterdir())}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """An empty folder for temporary files, which must be empty again."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_an_archive_equals_its_folder(slices, tmp_path, temporary):
    image, facts = convert(zip_files(tmp_path / "scan.ZIP", slices))
    plain, expected = convert(tmp_path / "scan")
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(plain))
    assert facts == expected
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_another_uses_is_not(slices, tmp_path, temporary):
    for name, age in (("left", 100), ("young", 0), ("used", 100)):
        folder = temporary / f"cpmn-unzipped-{name}"
        folder.mkdir()
        (folder / "in-use").touch()
        (folder / "Doe^Jane").write_text("a named slice")
        os.utime(folder, (0, time.time() - age))
    with (temporary / "cpmn-unzipped-used" / "in-use").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        convert(zip_files(tmp_path / "scan.zip", slices))
    assert sorted(path.name for path in temporary.iterdir()) == ["cpmn-unzipped-used", "cpmn-unzipped-young"]


def test_an_archive_beside_files_in_a_folder(slices, tmp_path):
    names = list(slices)
    folder = tmp_path / "study"
    folder.mkdir()
    zip_files(folder / "first.zip", {name: slices[name] for name in names[:5]}, zipfile.ZIP_DEFLATED)
    zip_files(folder / "second.zip", {name: slices[name] for name in names[5:9]}, zipfile.ZIP_STORED)
    for name in names[9:]:
        (folder / name.replace("/", "-")).write_bytes(slices[name])
    assert convert(folder)[1] == convert(tmp_path / "scan")[1]


def test_names_that_point_elsewhere_stay_inside(slices, tmp_path, temporary):
    evil = {f"../../../../{tmp_path}/evil/{name}": content for name, content in slices.items()}
    absolute = {str(tmp_path / "absolute"): b"no DICOM"}
    convert(zip_files(tmp_path / "scan.zip", evil | absolute))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan", "scan.zip", "temporary"]
    assert list(temporary.iterdir()) == []


def test_bombs_are_refused_before_they_are_unpacked(slices, tmp_path, monkeypatch):
    bomb = zip_files(tmp_path / "bomb.zip", {"zeros": bytes(20_000_000)})
    text = message(bomb, maximum_unzipped_gb=0.01)
    assert "the zip archives hold more than 0.01 GB" in text
    assert "convert.maximum_unzipped_gb" in text
    monkeypatch.setattr(archive, "LARGEST_COUNT", 11)
    assert "or 11 files" in message(zip_files(tmp_path / "many.zip", slices))


def test_a_declared_size_that_lies_is_no_way_round(tmp_path):
    """The directory of the archive says 10 bytes for 20 MB: no more than those are read."""
    path = zip_files(tmp_path / "liar.zip", {"zeros": bytes(20_000_000)})
    content = path.read_bytes()
    path.write_bytes(content.replace((20_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert "damaged" in message(path, maximum_unzipped_gb=0.001)


def test_damaged_archive(tmp_path, slices):
    (tmp_path / "text.zip").write_text("no archive")
    assert "the zip archive is damaged" in message(tmp_path / "text.zip")
    path = zip_files(tmp_path / "scan.zip", slices)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    assert "the zip archive is damaged" in message(path)


@pytest.mark.parametrize("change", ["name", "version"])
def test_archive_whose_directory_python_cannot_read(tmp_path, slices, change):
    """A name flagged as UTF-8 that is none; a format version of the future."""
    path = zip_files(tmp_path / "scan.zip", slices)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    if change == "name":
        content[entry + 9] |= 0x08
        content[entry + 46] = 0xFF
    else:
        content[entry + 6] = 99
    path.write_bytes(content)
    assert "the zip archive is damaged" in message(path)


def test_encrypted_archive(tmp_path, slices):
    path = zip_files(tmp_path / "scan.zip", slices)
    content = path.read_bytes()  # the flag stands in each entry of the central directory
    path.write_bytes(content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"))
    assert "the zip archive is encrypted" in message(path)


def test_empty_archive_and_one_without_dicom(tmp_path):
    assert "the folder or archive is empty" in message(zip_files(tmp_path / "none.zip", {}))
    text = message(zip_files(tmp_path / "notes.zip", {"notes.txt": b"hello", "inner.zip": b"PK"}))
    assert "none of the 2 files is a readable DICOM image" in text


def test_a_damaged_member_is_named(tmp_path, slices):
    name = list(slices)[4]
    path = zip_files(tmp_path / "scan.zip", slices | {name: slices[name][:-40]})
    text = message(path)
    assert "the pixel data is damaged or truncated" in text
    assert str(path / name) in text


def test_linked_folders_are_read_once_and_a_link_that_goes_in_a_circle_is_not(write_series, tmp_path):
    folder = write_series()
    whole = convert(folder)[0]
    elsewhere = tmp_path / "disc"
    elsewhere.mkdir()
    for path in sorted(folder.iterdir())[:4]:
        path.rename(elsewhere / path.name)
    (folder / "a").symlink_to(elsewhere)
    (folder / "b").symlink_to(elsewhere)
    (elsewhere / "up").symlink_to(folder)
    (folder / "all").symlink_to(tmp_path)  # holds the folder, and scans of others beside it
    write_series("another", SeriesInstanceUID="1.2.3.99", PatientID="other")
    image, facts = convert(folder)
    assert facts["slices"] == 12
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(whole))
    assert len(archive.files_below(folder)) == 12
    (folder / "z").mkdir()
    (folder / "z/slice").touch()
    (folder / "c").symlink_to(folder / "z")
    assert folder / "z/slice" in archive.files_below(folder)  # by its own name


@pytest.mark.parametrize("zipped", [False, True])
def test_a_slice_whose_link_leads_nowhere_is_not_left_out(write_series, tmp_path, zipped):
    folder = write_series()
    if zipped:
        zip_files(folder / "more.zip", {"README": b"no DICOM"})
    lost = sorted(folder.iterdir())[-1]
    lost.unlink()
    lost.symlink_to(tmp_path / ".git/annex/objects/1.dcm")
    assert f"a link leads nowhere, and the file that it stands for is not there ({lost}). Copy" in message(folder)
    lost.rename(folder / ".#lock")  # as Emacs locks a file
    assert folder / ".#lock" not in archive.files_below(folder)
