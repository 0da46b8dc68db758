"""The marks as a DICOM Segmentation, which viewers and archives lay over the series that they were made from."""

from collections.abc import Mapping
from typing import Any

import SimpleITK as sitk
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes

from cpmn.dicom.scanfiles import ScanFiles
from cpmn.dicom.segmentation import NAME, Named, segment
from cpmn.dicom.segmentation import segmentation as laid_over
from cpmn.predict import dicomnames as names


def segmentation(scan: ScanFiles, labels: sitk.Image, record: Mapping[str, Any]) -> Segmentation:
    """A Segmentation with one segment for each mark, as `cpmn.dicom.segmentation` makes it.

    Parameters
    ----------
    labels : on the scan's native grid (LPS); 0, or the number of the lesion in `record`.
    record : contents of `prediction.json`. Titles, codes and colours follow its decision, and its warnings stand in the
        description of each segment.
    """
    named = Named(
        series_uid=names.result_uid(scan.series, record, "segmentation series"),
        instance_uid=names.result_uid(scan.content, record, "segmentation"),
        series_number=names.SERIES_NUMBERS["segmentation"],
        title=names.title(record),
        label=names.label(record),
        serial=record["model"]["sha256"][:16],
    )
    segments = [_segment(scan, record, number) for number in range(1, max(1, len(record["lesions"])) + 1)]
    result = laid_over(scan, labels, segments, named)
    warnings = [f"WARNING: {one}" for one in record["warnings"]]
    for described, lesion in zip(result.SegmentSequence, record["lesions"] or [None], strict=True):
        lines = [*([names.mark_text(lesion)] if lesion else []), *warnings]
        if lines:
            described.SegmentDescription = "\n".join(lines)[: names.LONGEST_TEXT]
    return result


def _segment(scan: ScanFiles, record: Mapping[str, Any], number: int) -> SegmentDescription:
    kind = names.mark_type(record)
    embolus = kind == codes.SCT.Embolus
    category = codes.SCT.MorphologicallyAbnormalStructure if embolus else codes.SCT.SpatialAndRelationalConcept
    return segment(
        number,
        names.mark_label(record, number),
        category,
        kind,
        anatomic_regions=[codes.SCT.PulmonaryArtery] if embolus else None,
        tracking_uid=names.result_uid(scan.content, record, f"mark {number}"),
        tracking_id=f"{NAME} mark {number}",
        display_color=CIELabColor.from_rgb(*(names.POSITIVE_RGB if record["positive"] else names.OTHER_RGB)),
    )
