"""Lungs and box of the real chests: agreement with the reference masks, volumes, time. `python -m benchmarks crop`."""

import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.cases import REAL_DATA
from cpmn.anatomy.lungbox import find_box
from cpmn.anatomy.lungs import lung_parts_ml
from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.dicom.scan import read_scan
from cpmn.scoring.overlap import dice
from cpmn.volume.images import read_image

CHESTS = {  # scan, reference mask or none
    "cip/ct-64Dicom": "cip/wholeLung-64.nrrd",
    "hemithorax_pair/3DCT_lung.mha": "hemithorax_pair/3DCT_lung_baseline_mask.mha",
    "hemithorax_pair/3DCT_lung_baseline_small.mha": "hemithorax_pair/3DCT_lung_baseline_mask.mha",
    "lung_pet_ct_dx/A0001": None,
    "lung_pet_ct_dx/A0002": None,
}
REPEATS = 3


def measure() -> list[dict]:
    """One row per chest; seconds are the median of the repeats with the range."""
    if not REAL_DATA.is_dir():
        sys.exit(f"This table needs the real scans: no folder {REAL_DATA} (set CPMN_REAL_DATA)")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return [_row(name, mask) for name, mask in CHESTS.items()]


def _row(name: str, mask: str | None) -> dict:
    source = REAL_DATA / name
    image, _ = read_scan(source, patient="p", phase="nct", series_uid="", config=ConvertConfig())
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        box, lungs, _ = find_box(image, CropConfig())
        times.append(time.perf_counter() - began)
    return {
        "scan": name,
        "dice": round(_agreement(lungs, REAL_DATA / mask), 3) if mask else None,
        "lung_parts_ml": " + ".join(f"{part:.0f}" for part in lung_parts_ml(lungs)),
        "box_share_of_scan": round(float(np.prod(box.size) / np.prod(box.native_size)), 2),
        "seconds": round(float(np.median(times)), 2),
        "seconds_range": f"{min(times):.2f} to {max(times):.2f}",
    }


def _agreement(lungs: sitk.Image, mask: Path) -> float:
    truth = sitk.Resample(read_image(mask), lungs, sitk.Transform(), sitk.sitkNearestNeighbor)
    return dice(sitk.GetArrayFromImage(lungs), sitk.GetArrayFromImage(truth))
