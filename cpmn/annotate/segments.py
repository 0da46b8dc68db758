"""The outline as a DICOM Segmentation, which viewers lay over the CTPA and a radiologist corrects."""

import logging
from pathlib import Path

import SimpleITK as sitk
from pydicom.sr.codedict import codes

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scanfiles import ScanFiles, WrongTags, read_scan_files, repeating_tags
from cpmn.dicom.segmentation import NAME, Named, segment, segmentation
from cpmn.dicom.uids import uid_of
from cpmn.files import written_atomically

logger = logging.getLogger(__name__)

SERIES_NUMBER = 9003  # ours: behind those of a prediction
NOTE = "by annotate, research use only"
TITLE = f"{NAME}: emboli outlined {NOTE}"


def write_segmentation(
    path: Path, outline: sitk.Image, source: Path, series: str | None, config: ConvertConfig, networks: str
) -> bool:
    """Write `path` with a segment for each piece of `outline`, and whether that was possible.

    Nobody is named in it. An image file gives none, and nor does a scan whose tags such a file must repeat and cannot:
    the log says which.

    Parameters
    ----------
    outline : clot ids on the grid of the converted CTPA; at least one segment is written, if need be an empty one.
    source, series : folder or .zip of DICOM files, and the key of the series in it; None of an image file.
    networks : hash of the networks that drew it. The same ones give the same UIDs.
    """
    path.unlink(missing_ok=True)
    if series is None:
        return False
    try:
        with repeating_tags():
            scan = read_scan_files(source, series, config, phase="ctpa", identity=False)
            made = _laid_over(scan, outline, networks)
    except WrongTags as error:
        logger.warning("no %s: tags of the CTPA are missing or wrong: %s", path.name, error)
        return False
    with written_atomically(path) as temporary:
        made.save_as(temporary)
    return True


def _laid_over(scan: ScanFiles, outline: sitk.Image, networks: str):
    def uid(part: str) -> str:
        return uid_of("/".join([NAME, "annotate", *scan.series, networks, part]))

    pieces = int(sitk.GetArrayViewFromImage(outline).max())
    segments = [
        segment(
            number,
            f"Pulmonary embolus {number} ({NOTE})" if pieces else f"Nothing outlined ({NOTE})",
            codes.SCT.MorphologicallyAbnormalStructure,
            codes.SCT.Embolus,
            anatomic_regions=[codes.SCT.PulmonaryArtery],
            tracking_uid=uid(f"piece {number}"),
            tracking_id=f"{NAME} piece {number}",
        )
        for number in range(1, max(1, pieces) + 1)
    ]
    return segmentation(
        scan,
        outline,
        segments,
        Named(uid("series"), uid("segmentation"), SERIES_NUMBER, TITLE, "ANNOTATE", networks[:16]),
    )
