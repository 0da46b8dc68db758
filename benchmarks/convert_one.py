"""The process that stands for us in the benchmark of conversion: DICOM folder in, `scan.nii.gz` and its seconds out."""

import json
import sys
import time
from pathlib import Path

import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import write_image

if __name__ == "__main__":
    dicom, folder = map(Path, sys.argv[1:])
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    began = time.perf_counter()
    image, _ = read_scan(dicom, patient="benchmark", phase="nct", series_uid="", config=ConvertConfig())
    write_image(image, folder / "scan.nii.gz")
    (folder / "seconds.json").write_text(json.dumps(time.perf_counter() - began))
