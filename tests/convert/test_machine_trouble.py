"""A scan that the machine could not read is not a bad scan: its patient is not excluded, and the job runs again."""

import builtins
import errno
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_patient
from cpmn.dicom.archive import files_below
from cpmn.errors import MachineError
from cpmn.job.status import run_patient_stage

TROUBLES = (errno.EIO, errno.EMFILE, errno.EACCES, errno.ENOSPC, errno.ENOMEM)


def run(source: Path, folder: Path) -> None:
    patient = Patient.model_validate({"patient_id": "p1", "nct": source, "label": 0})
    run_patient_stage(
        lambda: convert_patient(patient, folder, ConvertConfig()),
        stage="convert",
        patient="p1",
        outputs=[folder / "nct.nii.gz"],
        status_path=folder / "status.json",
        on_bad_patient="exclude",
    )


@pytest.fixture
def scans(write_series, tmp_path) -> dict[str, Path]:
    folder = write_series()
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as opened:
        for path in folder.iterdir():
            opened.write(path, path.name)
    values = np.linspace(-1000, 1000, 20 * 30 * 30).reshape(20, 30, 30).astype(np.int16)
    for name in ("scan.nii.gz", "scan.nii", "scan.nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / name))
    return {path.name: path for path in (folder, *tmp_path.glob("scan.*"))}


@pytest.mark.parametrize("name", ["scan", "scan.zip", "scan.nii.gz", "scan.nii", "scan.nrrd"])
@pytest.mark.parametrize("number", TROUBLES)
def test_the_machine_cannot_read(scans, tmp_path, monkeypatch, name, number):
    """From the third file on, or the first where there is one alone."""
    real, opened = io.open, []

    def fail(path, *arguments, **options):
        if isinstance(path, str | os.PathLike) and str(path).startswith(str(scans[name])):
            opened.append(path)
            if len(opened) > 2 or name != "scan":
                raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", fail)
    monkeypatch.setattr(io, "open", fail)
    with pytest.raises(MachineError, match=os.strerror(number)):
        run(scans[name], tmp_path / "out")
    assert not (tmp_path / "out" / "status.json").exists()


def test_temporary_files_fill_the_disk(scans, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cpmn.dicom.archive.shutil.copyfileobj", full)
    with pytest.raises(MachineError, match="No space left on device"):
        run(scans["scan.zip"], tmp_path / "out")


def test_too_little_memory_to_decode(scans, tmp_path, monkeypatch):
    def starve(*_arguments, **_options):
        raise MemoryError

    monkeypatch.setattr("cpmn.dicom.pixels.iter_pixels", starve)
    with pytest.raises(MachineError, match="too little memory"):
        run(scans["scan"], tmp_path / "out")


def test_a_series_that_cannot_be_looked_at_for_the_machine_s_sake_is_not_passed_over(
    write_series, tmp_path, monkeypatch
):
    """Which series suits is asked of the pixels: another would be chosen in silence."""
    write_series(SeriesInstanceUID="1.2.3.4")
    folder = write_series(SeriesInstanceUID="1.2.3.5", ConvolutionKernel="B60f")

    def starve(*_arguments, **_options):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("cpmn.dicom.pixels.iter_pixels", starve)
    with pytest.raises(MachineError, match="Input/output error"):
        run(folder, tmp_path / "out")


def test_a_folder_that_may_not_be_read_is_not_an_empty_one(tmp_path, monkeypatch):
    """`rglob` passes over it in silence, and with it over a part of the scan."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "slice").write_bytes(b"1")
    assert files_below(tmp_path) == [tmp_path / "a" / "slice"]
    real = os.scandir

    def refuse(path="."):
        if str(path).endswith("a"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        files_below(tmp_path)
