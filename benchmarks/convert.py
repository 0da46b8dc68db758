"""Conversion of one DICOM series to .nii.gz: wall-clock time beside dcm2niix, one thread each, and equal voxels."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.cases import make_pair
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_series
from cpmn.images import read_image, write_image

REPEATS = 5
SPACING = (1.0, 1.0, 2.0)  # mm; a routine chest has about this


def measure() -> list[dict]:
    """One row per converter: median of the repeats with the range; methods take turns."""
    if not shutil.which("dcm2niix"):
        sys.exit("The conversion benchmark needs its peer: apt-get install dcm2niix")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dicom = make_pair(1, folder, SPACING).dicom
        methods = {"cpmn": _ours, "dcm2niix -z y": _dcm2niix}
        times: dict[str, list[float]] = {method: [] for method in methods}
        for _ in range(REPEATS):
            for method, convert in methods.items():
                began = time.perf_counter()
                convert(dicom, folder)
                times[method].append(time.perf_counter() - began)
        equal = np.array_equal(_voxels(folder / "ours.nii.gz"), _voxels(folder / "theirs.nii.gz"))
        slices = len(list(dicom.iterdir()))
    ours = float(np.median(times["cpmn"]))
    return [
        {
            "method": method,
            "slices": slices,
            "repeats": REPEATS,
            "seconds": round(float(np.median(seconds)), 2),
            "seconds_range": f"{min(seconds):.2f} to {max(seconds):.2f}",
            "times_ours": round(float(np.median(seconds)) / ours, 2),
            "same_voxels": equal,
        }
        for method, seconds in times.items()
    ]


def _ours(dicom: Path, folder: Path) -> None:
    image, _ = convert_series(dicom, patient="benchmark", phase="nct", series_uid="", config=ConvertConfig())
    write_image(image, folder / "ours.nii.gz")


def _dcm2niix(dicom: Path, folder: Path) -> None:
    command = ["dcm2niix", "-z", "y", "-b", "n", "-w", "1", "-f", "theirs", "-o", str(folder), str(dicom)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _voxels(path: Path) -> np.ndarray:
    """Voxels in LPS order: converters store the axes in different directions."""
    image = sitk.DICOMOrient(read_image(path), "LPS")
    return sitk.GetArrayFromImage(image)
