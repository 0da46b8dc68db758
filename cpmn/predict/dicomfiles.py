"""A prediction as DICOM: Segmentation, structured report and picture, beside the scan in its study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scanfiles import WrongTags, read_scan_files, repeating_tags
from cpmn.errors import CpmnError
from cpmn.files import written_atomically
from cpmn.predict.dicomsc import picture
from cpmn.predict.dicomseg import segmentation
from cpmn.predict.dicomsr import report

SEGMENTATION, REPORT, PICTURE = "prediction.dcm", "report.dcm", "overview.dcm"
DICOM_FILES = (SEGMENTATION, REPORT, PICTURE)


def write_dicom(
    folder: Path,
    labels: sitk.Image,
    source: Path,
    series: str,
    config: ConvertConfig,
    record: Mapping[str, Any],
    *,
    identity: bool = False,
) -> None:
    """Write prediction.dcm, report.dcm and overview.dcm into `folder`, where overview.png lies.

    Parameters
    ----------
    labels : on the scan's native grid (LPS); 0, or the number of the lesion in `record`.
    source, series : folder or .zip of DICOM files that was read, and the key of the series in it.
    record : contents of `prediction.json`.
    identity : whether what the scan says of patient, study, institution and scanner (name, ID, dates, accession number,
        ...) is taken over, which an archive needs to file it; without, nothing is, but UIDs, by which whoever holds the
        scan can tell whose it is.

    Raises CpmnError if the scan lacks tags that the files have to repeat, or has several multi-frame files.
    """
    try:
        with repeating_tags():
            scan = read_scan_files(source, series, config, identity=identity)
            marks = segmentation(scan, labels, record)
            made = {
                SEGMENTATION: marks,
                REPORT: report(scan, marks, record),
                PICTURE: picture(scan, folder / "overview.png", record),
            }
    except WrongTags as error:
        why = "" if identity else f": {error}"  # it may quote what the tags say
        raise CpmnError(
            f"no DICOM of {source} can be made, since tags of the scan are missing or wrong{why}. "
            "Mend them, or leave out --dicom."
        ) from error
    for name, dataset in made.items():
        with written_atomically(folder / name) as temporary:
            dataset.save_as(temporary)
