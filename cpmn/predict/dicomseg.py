"""The marks as a DICOM Segmentation, which viewers and archives lay over the series that they were made from."""

from collections.abc import Mapping
from typing import Any

import highdicom
import numpy as np
import SimpleITK as sitk
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.valuerep import DSfloat

import cpmn
from cpmn.predict import dicomnames as names
from cpmn.predict.dicomsource import ScanFiles


def segmentation(scan: ScanFiles, labels: sitk.Image, record: Mapping[str, Any]) -> Segmentation:
    """A binary Segmentation with one segment for each mark, in the scan's own orientation.

    It belongs to the study and the frame of reference of its scan and refers to the slices that it lies on, at their
    positions; where the scan had to be resampled (gantry tilt, uneven slices) it has positions of its own. Frames
    without a mark are left out, unless there is no mark at all: then one segment is empty.

    Parameters
    ----------
    labels : on the scan's native grid (LPS); 0, or the number of the lesion in `record`.
    record : contents of `prediction.json`. Titles, codes and colours follow its decision, and its warnings stand in the
        description of each segment.
    """
    volume = _volume(labels, scan.geometry.direction)
    geometry, slices = scan.geometry, scan.datasets
    own_positions = geometry.uneven or geometry.shifts or "NumberOfFrames" in slices[0]  # else those of the slices
    result = Segmentation(
        slices,
        volume if own_positions else volume.array,
        SegmentationTypeValues.BINARY,
        [_segment(scan, record, number) for number in range(1, max(1, len(record["lesions"])) + 1)],
        series_instance_uid=names.result_uid(scan.series, record, "segmentation series"),
        series_number=names.SERIES_NUMBERS["segmentation"],
        sop_instance_uid=names.result_uid(scan.series, record, "segmentation"),
        instance_number=1,
        manufacturer=names.NAME,
        manufacturer_model_name=names.NAME,
        software_versions=cpmn.__version__,
        device_serial_number=record["model"]["sha256"][:16],
        content_label=names.label(record),
        content_description=names.title(record),
        series_description=names.title(record),
        specific_character_set=names.CHARACTERS,
    )
    measures = result.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = DSfloat(volume.spacing[0], auto_format=True)  # the scan's own may be wrong
    warnings = [f"WARNING: {one}" for one in record["warnings"]]
    for segment, lesion in zip(result.SegmentSequence, record["lesions"] or [None], strict=True):
        lines = [*([names.mark_text(lesion)] if lesion else []), *warnings]
        if lines:
            segment.SegmentDescription = "\n".join(lines)[: names.LONGEST_TEXT]
    return result


def _volume(labels: sitk.Image, direction: np.ndarray) -> highdicom.Volume:
    """The labels with axes along those of the scan's slices, so that their planes are theirs."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction.ravel().tolist())
    labels = sitk.DICOMOrient(labels, code)
    steps = np.reshape(labels.GetDirection(), (3, 3)) * labels.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3] = steps[:, ::-1]  # columns for the array's axes z, y, x
    affine[:3, 3] = labels.GetOrigin()
    return highdicom.Volume(sitk.GetArrayFromImage(labels), affine, coordinate_system="PATIENT")


def _segment(scan: ScanFiles, record: Mapping[str, Any], number: int) -> SegmentDescription:
    kind = names.mark_type(record)
    embolus = kind == codes.SCT.Embolus
    colour = CIELabColor.from_rgb(*(names.POSITIVE_RGB if record["positive"] else names.OTHER_RGB))
    return SegmentDescription(
        segment_number=number,
        segment_label=names.mark_label(record, number),
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure
        if embolus
        else codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=names.NAME, family=codes.DCM.ArtificialIntelligence, version=cpmn.__version__
        ),
        anatomic_regions=[codes.SCT.PulmonaryArtery] if embolus else None,
        tracking_uid=names.result_uid(scan.series, record, f"mark {number}"),
        tracking_id=f"{names.NAME} mark {number}",
        display_color=colour,
    )
