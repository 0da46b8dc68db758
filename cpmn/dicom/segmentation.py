"""DICOM Segmentations: labels laid over the series that they were made from, and read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage
from pydicom.valuerep import DSfloat

import cpmn
from cpmn.dicom.scanfiles import ScanFiles
from cpmn.errors import CpmnError, blame_machine

NAME = "CPMN"
CHARACTERS = "ISO_IR 192"  # whatever the scan's own is, names are read by then


@dataclass(frozen=True)
class Named:
    """What a Segmentation is called: UIDs, number of its series, titles, and the serial number of what made it."""

    series_uid: str
    instance_uid: str
    series_number: int
    title: str
    label: str
    serial: str


def segmentation(
    scan: ScanFiles, labels: sitk.Image, segments: Sequence[SegmentDescription], named: Named
) -> Segmentation:
    """A binary Segmentation in the scan's own orientation.

    It belongs to the study and the frame of reference of its scan and refers to the slices that it lies on, at their
    positions; where the scan had to be resampled (gantry tilt, uneven slices) it has positions of its own. Frames
    without a mark are left out, unless there is no mark at all: then one segment is empty.

    Parameters
    ----------
    labels : on the scan's native grid (LPS); 0, or the number of a segment.
    segments : one for each number from 1; at least one.
    """
    volume = _volume(labels, scan.geometry.direction)
    geometry, slices = scan.geometry, _of_one_series(scan)
    own_positions = geometry.uneven or geometry.shifts or "NumberOfFrames" in slices[0]  # else those of the slices
    result = Segmentation(
        slices,
        volume if own_positions else volume.array,
        SegmentationTypeValues.BINARY,
        segments,
        series_instance_uid=named.series_uid,
        series_number=named.series_number,
        sop_instance_uid=named.instance_uid,
        instance_number=1,
        manufacturer=NAME,
        manufacturer_model_name=NAME,
        software_versions=cpmn.__version__,
        device_serial_number=named.serial,
        content_label=named.label,
        content_description=named.title,
        series_description=named.title,
        specific_character_set=CHARACTERS,
    )
    _refer_to_true_series(result, scan)
    measures = result.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = DSfloat(volume.spacing[0], auto_format=True)  # the scan's own may be wrong
    return result


def _of_one_series(scan: ScanFiles) -> list[pydicom.Dataset]:
    """The slices as highdicom takes them: of a scan that an archive cut, all under the first series' UID."""
    first, *others = scan.series
    if not others:
        return scan.datasets
    slices = [pydicom.Dataset({element.tag: element for element in one}) for one in scan.datasets]
    for one in slices:
        del one.SeriesInstanceUID  # the element itself is the scan's own
        one.SeriesInstanceUID = first
    return slices


def _refer_to_true_series(result: Segmentation, scan: ScanFiles) -> None:
    """Let `result` refer to each slice in the series that it lies in."""
    if len(scan.series) == 1:
        return
    series_of = {one.SOPInstanceUID: one.SeriesInstanceUID for one in scan.datasets}
    (item,) = result.ReferencedSeriesSequence
    items = {series: pydicom.Dataset() for series in scan.series}
    for series, own in items.items():
        own.SeriesInstanceUID = series
        own.ReferencedInstanceSequence = [
            one for one in item.ReferencedInstanceSequence if series_of[one.ReferencedSOPInstanceUID] == series
        ]
    result.ReferencedSeriesSequence = list(items.values())


def segment(number: int, label: str, category: Code, kind: Code, **further) -> SegmentDescription:
    """A segment that this software made; `further` as for highdicom's SegmentDescription."""
    return SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=NAME, family=codes.DCM.ArtificialIntelligence, version=cpmn.__version__
        ),
        **further,
    )


def read_segmentation(path: Path, scan: sitk.Image) -> sitk.Image:
    """Numbers of the segments (uint16), 0 where there is none, from the first slice with a mark to the last.

    scan : what was segmented. Where the file does not say how far slices are apart, which it need not, they are as far
        apart as the scan's: those without a mark may be left out of it.

    Raises CpmnError for what is absent or no DICOM Segmentation, has segments that overlap, fractions, or places that
    form no regular grid.
    """
    if not path.is_file():
        raise CpmnError(f"{path} does not exist, or is no file. Check the path.")
    try:
        dataset = pydicom.dcmread(path)
        _state_spacing(dataset, scan)
        found = Segmentation.from_dataset(dataset, copy=False)
        volume = found.get_volume(combine_segments=True, dtype=np.uint16)
    except Exception as error:  # pydicom and highdicom end in many ways for a damaged file
        blame_machine(error, path)
        wanted = f"a DICOM Segmentation ({SegmentationStorage})"
        raise CpmnError(f"{path} cannot be read as {wanted}: {error}") from error
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(volume.position)
    image.SetDirection(np.asarray(volume.direction)[:, ::-1].ravel().tolist())
    return image


def _state_spacing(dataset: pydicom.Dataset, scan: sitk.Image) -> None:
    """Write the scan's distance of slices into a Segmentation that says none."""
    groups = [*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence]
    measures = [one.PixelMeasuresSequence[0] for one in groups if "PixelMeasuresSequence" in one]
    (turned, *_) = (one.PlaneOrientationSequence[0] for one in groups if "PlaneOrientationSequence" in one)
    row, column = np.reshape([float(value) for value in turned.ImageOrientationPatient], (2, 3))
    along = np.abs(np.reshape(scan.GetDirection(), (3, 3)).T @ np.cross(row, column))
    for one in measures:
        if not one.get("SpacingBetweenSlices"):
            one.SpacingBetweenSlices = DSfloat(scan.GetSpacing()[int(along.argmax())], auto_format=True)


def _volume(labels: sitk.Image, direction: np.ndarray) -> highdicom.Volume:
    """The labels with axes along those of the scan's slices, so that their planes are theirs."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction.ravel().tolist())
    labels = sitk.DICOMOrient(labels, code)
    steps = np.reshape(labels.GetDirection(), (3, 3)) * labels.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3] = steps[:, ::-1]  # columns for the array's axes z, y, x
    affine[:3, 3] = labels.GetOrigin()
    return highdicom.Volume(sitk.GetArrayFromImage(labels), affine, coordinate_system="PATIENT")
