"""DICOM files of made-up marks, and what of `prediction.json` they need."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.predict.dicomfiles import write_dicom

STUDY = {"StudyInstanceUID": "1.2", "FrameOfReferenceUID": "1.3", "StudyID": "1", "AccessionNumber": "7"}
STUDY |= {"PatientSex": "F", "StudyTime": "0900", "ReferringPhysicianName": "", "SeriesNumber": 1}
FRAMES = {"PositionReferenceIndicator": "", "BodyPartExamined": "CHEST", "Laterality": ""}
FRAMES |= {"SeriesDate": "20190305", "SeriesTime": "0900"}  # what a multi-frame file must hold besides


@pytest.fixture
def write_scan(write_series: Callable[..., Path]) -> Callable[..., Path]:
    return partial(write_series, **STUDY)


def segment(
    scan: Path, folder: Path, *, marks: int = 1, positive: bool | None = True, identity: bool = False, **settings
) -> sitk.Image:
    """Write the DICOM files of made-up marks with a fifth of the voxels, shared out; gives the labels."""
    config = ConvertConfig.model_validate(settings)
    native, facts = read_scan(scan, patient="p", phase="nct", series_uid="", config=config)
    random = np.random.default_rng(1)
    numbers = random.integers(1, marks + 1, native.GetSize()[::-1]) if marks else 0
    labels = sitk.GetImageFromArray((numbers * (random.random(native.GetSize()[::-1]) < 0.2)).astype(np.uint16))
    labels.CopyInformation(native)
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (200, 10, 10)).save(folder / "overview.png")
    record = made_record(marks, positive)
    write_dicom(folder, labels, scan, facts["series"], config, record, identity=identity)
    return labels


def made_record(marks: int, positive: bool | None) -> dict[str, Any]:
    """What the DICOM files repeat of `prediction.json`."""
    lesion = {"volume_ml": 1.25, "confidence": 0.8, "mean_hu": 61.0, "contrast_hu": 21.0, "longest_mm": 30.5}
    lesion |= {"side": "left", "region": "upper third", "slice": 3}
    return {
        "statement": "Research use only.",
        "decision": {True: "PE", False: "no PE", None: "none: no threshold"}[positive],
        "positive": positive,
        "probability": {"value": 0.75},
        "score": 0.75,
        "threshold": {"value": 0.5},
        "volume_ml": 1.25 * marks,
        "lesions": [lesion | {"number": number} for number in range(1, marks + 1)],
        "warnings": ["contrast is present"],
        "model": {"variant": "cpmn", "sha256": "ab" * 32},
    }
