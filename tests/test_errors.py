"""What is wrong with the data is told from trouble of the machine."""

import errno
import os

import pytest

from cpmn.errors import CpmnError, MachineError, blame_machine, trouble_of_machine


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EACCES, errno.ENOMEM, errno.EROFS])
def test_what_the_system_says_of_itself(number):
    error = OSError(number, os.strerror(number), "scan.dcm")
    with pytest.raises(MachineError, match=rf"{os.strerror(number)} \(scan\.dcm\)\. That is trouble of this machine"):
        blame_machine(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError("the file holds 3 bytes of 8"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        OSError(errno.ENAMETOOLONG, "File name too long"),
        ValueError("no number"),
        CpmnError("the mask is empty"),
    ],
)
def test_what_is_wrong_with_the_data(error):
    blame_machine(error)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("itk::ERROR: Failed to allocate memory for image.")])
def test_too_little_memory(error):
    assert trouble_of_machine(error) == "there is too little memory"


def test_trouble_is_found_behind_what_was_made_of_it():
    error = ValueError("damaged")
    error.__cause__ = PermissionError(errno.EACCES, "Permission denied", "a.dcm")
    assert trouble_of_machine(error) == "Permission denied (a.dcm)"


def test_a_file_is_read_again_where_a_library_does_not_say_why(tmp_path, monkeypatch):
    path = tmp_path / "scan.nrrd"
    path.write_bytes(b"something")
    blame_machine(RuntimeError("could not read"), path)

    def fail(*_arguments, **_options):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("pathlib.Path.open", fail)
    with pytest.raises(MachineError, match="Input/output error"):
        blame_machine(RuntimeError("could not read"), path)
