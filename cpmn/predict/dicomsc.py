"""The picture as a DICOM secondary capture, which shows it in any viewer, "research use only" in its pixels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.sc import SCImage
from matplotlib.image import imread

import cpmn
from cpmn.dicom.scanfiles import ScanFiles
from cpmn.dicom.segmentation import CHARACTERS, NAME
from cpmn.predict import dicomnames as names


def picture(scan: ScanFiles, overview: Path, record: Mapping[str, Any]) -> SCImage:
    """The overview (PNG, which says "research use only" itself) in the study of its scan."""
    rgb = np.round(imread(overview)[..., :3] * 255).astype(np.uint8)
    result = SCImage.from_ref_dataset(
        scan.datasets[0],
        rgb,
        "RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        series_instance_uid=names.result_uid(scan.series, record, "picture series"),
        series_number=names.SERIES_NUMBERS["picture"],
        sop_instance_uid=names.result_uid(scan.content, record, "picture"),
        instance_number=1,
        manufacturer=NAME,
        series_description=names.title(record),
        manufacturer_model_name=NAME,
        software_versions=cpmn.__version__,
        specific_character_set=CHARACTERS,
    )
    result.PatientOrientation = result.Laterality = None  # it shows several views
    result.BurnedInAnnotation = "NO"  # which means: nothing that names the patient
    result.ImageComments = record["statement"]
    return result
