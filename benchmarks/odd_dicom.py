"""What three converters make of odd folders of real DICOM: `python -m benchmarks odd_dicom`."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk

from benchmarks.cases import REAL_DATA
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError

FOLDERS = (
    "gantry_tilt",
    "variable_spacing_head",
    "uneven_increment",
    "not_a_volume",
    "slice_orientation",
    "jpeg2000_series",
)
RESAMPLED = {"minimum_slices": 2, "uneven_spacing": "resample"}


def measure() -> list[dict]:
    """One row per folder: ours as configured by default, ours with resampling allowed, and both peers."""
    if not (shutil.which("dcm2niix") and shutil.which("dicom2nifti")):
        sys.exit("The table of odd folders needs its peers: apt-get install dcm2niix, pip install -e '.[bench]'")
    if not REAL_DATA.is_dir():
        sys.exit(f"The table of odd folders needs the real scans: no folder {REAL_DATA} (set CPMN_REAL_DATA)")
    return [_row(name, REAL_DATA / "odd_dicom" / name) for name in FOLDERS]


def _row(name: str, source: Path) -> dict:
    return {
        "folder": name,
        "cpmn": _ours(source, {"minimum_slices": 2}),
        "cpmn, uneven_spacing: resample": _ours(source, RESAMPLED),
        "dcm2niix": peer(["dcm2niix", "-z", "n", "-b", "n", "-f", "scan", "-o"], source),
        "dicom2nifti": peer(["dicom2nifti"], source),
        "dicom2nifti -G -I -r": peer(["dicom2nifti", "-G", "-I", "-r"], source),
    }


def _ours(source: Path, settings: dict) -> str:
    try:
        config = ConvertConfig.model_validate(settings)
        image, facts = read_scan(source, patient="p", phase="nct", series_uid="", config=config)
    except PatientError as error:
        return f"refused: {error.problem}"
    repaired = [text for text in facts["repaired"] if "padding" not in text]
    return "; ".join([describe(image), *repaired])


def describe(image: sitk.Image) -> str:
    """Size and slice spacing."""
    size = "x".join(map(str, image.GetSize()))
    return f"{size} of {image.GetSpacing()[2]:.2f} mm"


def peer(command: list[str], source: Path, say: Callable[[sitk.Image], str] = describe) -> str:
    """What a converter wrote, each image as `say` puts it, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        given = [*command, folder, str(source)] if command[-1] == "-o" else [*command, str(source), folder]
        done = subprocess.run(given, capture_output=True, text=True, check=False)
        files = sorted([*Path(folder).glob("*.nii"), *Path(folder).glob("*.nii.gz")])
        images = [f"{_short(file)} {_said(file, say)}".strip() for file in files]
    said = re.findall(r"Warning[^\n]*|\b[A-Z]{3,}_[A-Z_/]+\b", done.stdout + done.stderr)
    said = [text.split(": /")[0] for text in said if "protocol name" not in text]
    return "; ".join([*(images or ["nothing"]), *dict.fromkeys(text.strip()[:110] for text in said)][:6])


def _said(file: Path, say: Callable[[sitk.Image], str]) -> str:
    try:
        return say(sitk.ReadImage(str(file)))
    except RuntimeError as error:
        return "a sheared file, which ITK refuses" if "orthonormal" in str(error) else "a file that ITK cannot read"


def _short(file: Path) -> str:
    """Suffix that dcm2niix adds, or nothing: dicom2nifti's names hold the series' description."""
    return file.name.split(".")[0] if file.name.startswith("scan") else ""
