"""Conversion of one DICOM series to .nii.gz beside dcm2niix and dicom2nifti: time, and equal voxels.

Every converter is a process of its own with one thread, start of Python included; methods take turns. `cpmn` is also
timed without its start (`conversion_seconds`). CPU seconds depend less than wall-clock ones on what else runs.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from benchmarks.cases import REAL_DATA, SEED
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.stage import write_patient
from cpmn.volume.images import read_image

REPEATS = 5
SPACING = (1.0, 1.0, 2.0)  # mm; a routine chest has about this
REAL = {"A0001": "lung_pet_ct_dx/A0001/5mm_B", "JPEG 2000": "odd_dicom/jpeg2000_series"}
OURS, DCM2NIIX, DICOM2NIFTI = "cpmn", "dcm2niix -z y", "dicom2nifti"


class Run(NamedTuple):
    """Wall-clock and CPU seconds of a whole process, and its peak of resident memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    conversion_seconds: float | None = None


def measure() -> list[dict]:
    """One row per scan and converter: median of the repeats with the range."""
    if not shutil.which("dcm2niix"):
        sys.exit("The conversion benchmark needs its peer: apt-get install dcm2niix")
    if not shutil.which("dicom2nifti"):
        sys.exit("The conversion benchmark needs its peer: pip install -e '.[bench]'")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = PhantomConfig(seed=SEED, nct_spacing=SPACING, ctpa_spacing=SPACING)
        write_patient(config, "phantom-001", folder)
        rows = _rows("phantom", folder / "nct", folder)
        for scan, path in REAL.items():
            if (REAL_DATA / path).is_dir():
                rows += _rows(scan, REAL_DATA / path, folder)
    return rows


def _rows(scan: str, dicom: Path, folder: Path) -> list[dict]:
    runs: dict[str, list[Run]] = {method: [] for method in (OURS, DCM2NIIX, DICOM2NIFTI)}
    for _ in range(REPEATS):
        for method, done in runs.items():
            done.append(_run(method, dicom, folder))
    ours, reference = runs[OURS], _voxels(folder / OURS)
    rows = []
    for method, done in runs.items():
        row = _row(scan, method, done) | {"slices": len(list(dicom.iterdir()))}
        row["times_ours"] = round(_median(done, "seconds") / _median(ours, "seconds"), 2)
        row["cpu_times_ours"] = round(_median(done, "cpu_seconds") / _median(ours, "cpu_seconds"), 2)
        row["peak_mb"] = round(_median(done, "peak_mb"))
        row["megabytes"] = round(_result(folder / method).stat().st_size / 1e6, 2)
        row["same_voxels"] = np.array_equal(_voxels(folder / method), reference)
        rows.append(row)
    return rows


def _row(scan: str, method: str, runs: list[Run]) -> dict:
    seconds = [run.seconds for run in runs]
    alone = [run.conversion_seconds for run in runs if run.conversion_seconds is not None]
    return {
        "scan": scan,
        "method": method,
        "repeats": len(runs),
        "seconds": round(_median(runs, "seconds"), 2),
        "seconds_range": f"{min(seconds):.2f} to {max(seconds):.2f}",
        "cpu_seconds": round(_median(runs, "cpu_seconds"), 2),
        "conversion_seconds": round(float(np.median(alone)), 2) if alone else None,
    }


def _median(runs: list[Run], field: str) -> float:
    return float(np.median([getattr(run, field) for run in runs]))


def _run(method: str, dicom: Path, folder: Path) -> Run:
    target = folder / method
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    commands = {
        OURS: [sys.executable, "-m", "benchmarks.convert_one", str(dicom), str(target)],
        DCM2NIIX: ["dcm2niix", "-z", "y", "-b", "n", "-f", "scan", "-o", str(target), str(dicom)],
        DICOM2NIFTI: ["dicom2nifti", str(dicom), str(target)],
    }
    began = time.perf_counter()
    process = subprocess.Popen(commands[method], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_mb = 0.0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        peak_mb = max(peak_mb, _peak_mb(process.pid))
        time.sleep(0.01)
    _, status, usage = ended
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"{method} failed on {dicom}")
    alone = json.loads((target / "seconds.json").read_text()) if method == OURS else None
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak_mb, alone)


def _peak_mb(process: int) -> float:
    """High-water mark of a running process (Linux); 0 when it is about to end."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return max((int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM")), default=0.0)


def _result(folder: Path) -> Path:
    return next(folder.glob("*.nii.gz"))


def _voxels(folder: Path) -> np.ndarray:
    """Voxels in LPS order, padding at -1024: converters store the axes in different directions."""
    image = sitk.DICOMOrient(read_image(_result(folder)), "LPS")
    return np.maximum(sitk.GetArrayFromImage(image), -1024)
