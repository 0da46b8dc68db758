"""A prediction as a DICOM Segmentation, which viewers and archives lay over the series that it was made from."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.valuerep import DSfloat

import cpmn
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.archive import unzipped
from cpmn.dicom.choice import choose_series
from cpmn.dicom.geometry import Geometry
from cpmn.dicom.headers import read_dicom, read_file_set
from cpmn.dicom.problem import SeriesProblem
from cpmn.errors import CpmnError
from cpmn.files import written_atomically

SERIES_NUMBER = 9000  # ours: behind the numbers that scanners give
NAME = "CPMN"
LABEL = "Pulmonary embolus (research use only)"
LONGEST_TEXT = 1024  # characters of a short text (VR ST)
EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""What a Segmentation must hold but may leave empty (type 2), of all that names a patient or a visit."""
KEPT = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
"""What a Segmentation needs of a slice that does not name the patient."""
SAME = ("PlaneOrientationSequence", "PixelMeasuresSequence")
"""The same of all frames of a multi-frame image, in whatever group they stand."""
PLANES = ("PlanePositionSequence", *SAME)
"""The same of a frame."""
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
"""What a Segmentation refers to."""
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def write_segmentation(
    path: Path,
    mask: sitk.Image,
    source: Path,
    series: str,
    config: ConvertConfig,
    *,
    model: str,
    warnings_shown: Sequence[str] = (),
    identity: bool = False,
) -> None:
    """Write a mask as a binary DICOM Segmentation (SEG) with one segment, in the scan's own orientation.

    It belongs to the study and the frame of reference of its scan and refers to the slices that it lies on, at their
    positions; where the scan had to be resampled (gantry tilt, uneven slices) it has positions of its own. Frames
    without embolus are left out, unless there is none at all.

    Parameters
    ----------
    mask : 0/1 on the scan's native grid (LPS).
    source, series : folder or .zip of DICOM files that was read, and the key of the series in it.
    model : hash of the model's files.
    warnings_shown : what makes the result doubtful; it stands in the segment's description.
    identity : whether what the scan says of patient, study, institution and scanner (name, ID, dates, accession number,
        ...) is taken over, which an archive needs to file it; without, nothing is, but UIDs, by which whoever holds the
        scan can tell whose it is.

    Raises CpmnError if the scan lacks tags that a Segmentation has to repeat, or has several multi-frame files.
    """
    try:
        slices, geometry = _slices(source, series, config)
        _check(slices)
        slices = [_complete(_alike(one if identity else _without_identity(one), slices[0])) for one in slices]
        with warnings.catch_warnings():  # of names that are not written the way that the standard asks for
            warnings.simplefilter("ignore", UserWarning)
            segmentation = _segmentation(slices, mask, geometry, model)
            if warnings_shown:
                segmentation.SegmentSequence[0].SegmentDescription = "\n".join(
                    f"WARNING: {one}" for one in warnings_shown
                )[:LONGEST_TEXT]
    except (AttributeError, KeyError, TypeError, ValueError, SeriesProblem) as error:
        why = "" if identity else f": {error}"  # it may quote what the tags say
        raise CpmnError(
            f"no DICOM Segmentation of {source} can be made, since tags of the scan are missing or wrong{why}. "
            "Mend them, or leave out --dicom-seg."
        ) from error
    with written_atomically(path) as temporary:
        segmentation.save_as(temporary)


def _segmentation(slices: Sequence[pydicom.Dataset], mask: sitk.Image, geometry: Geometry, model: str) -> Segmentation:
    volume = _volume(mask, geometry.direction)
    own_positions = geometry.uneven or geometry.shifts or "NumberOfFrames" in slices[0]  # else those of the slices
    segmentation = Segmentation(
        slices,
        volume if own_positions else volume.array,
        SegmentationTypeValues.BINARY,
        [_segment()],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=NAME,
        manufacturer_model_name=NAME,
        software_versions=cpmn.__version__,
        device_serial_number=model[:16],
        content_label="PE",
        content_description=LABEL,
        series_description=f"{NAME}: {LABEL}",
        specific_character_set="ISO_IR 192",  # whatever the scan's own is, names are read by then
    )
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = DSfloat(volume.spacing[0], auto_format=True)  # the scan's own may be wrong
    return segmentation


def _slices(source: Path, series: str, config: ConvertConfig) -> tuple[list[pydicom.Dataset], Geometry]:
    """The scan's files without their pixels, in the order of the volume, and where they lie."""
    with unzipped(source, config.maximum_unzipped_gb) as files:
        choice = choose_series(read_file_set(source, files), phase="nct", series_uid=series, config=config)
        assert choice.series.geometry is not None
        paths = dict.fromkeys(header.path for header in choice.series.slices)
        slices = [read_dicom(path, stop_before_pixels=True) for path in paths]
        return slices, choice.series.geometry


def _check(slices: Sequence[pydicom.Dataset]) -> None:
    """Raises ValueError for what no Segmentation can refer to."""
    missing = [keyword for keyword in NEEDED if not all(one.get(keyword) for one in slices)]
    if missing:
        raise ValueError(f"no {', '.join(missing)}")
    if len(slices) > 1 and "NumberOfFrames" in slices[0]:
        raise ValueError("more than one multi-frame file")


def _alike(dataset: pydicom.Dataset, first: pydicom.Dataset) -> pydicom.Dataset:
    """The same with its `first` slice's orientation, and what frames share in their shared group.

    Conversion has found them alike; highdicom wants them equal, and there.
    """
    if "NumberOfFrames" not in dataset:
        dataset.ImageOrientationPatient = first.ImageOrientationPatient
        return dataset
    shared, own = (dataset[keyword].value[0] for keyword in GROUPS)
    for keyword in SAME:
        if keyword in own and keyword not in shared:
            shared[keyword] = own[keyword]
    return dataset


def _without_identity(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """What is listed above of a slice or multi-frame image, and nothing else."""
    result = _only(dataset, KEPT)
    for keyword in GROUPS:
        if keyword in dataset:
            setattr(result, keyword, [_only(group, PLANES) for group in dataset[keyword].value])
    return result


def _complete(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """The same, with an empty value for each of `EMPTY` that is absent."""
    for keyword in EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    return dataset


def _only(dataset: pydicom.Dataset, keywords: Sequence[str]) -> pydicom.Dataset:
    result = pydicom.Dataset()
    for keyword in keywords:
        if keyword in dataset:
            result[keyword] = dataset[keyword]
    return result


def _volume(mask: sitk.Image, direction: np.ndarray) -> highdicom.Volume:
    """The mask with axes along those of the scan's slices, so that its planes are theirs."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction.ravel().tolist())
    mask = sitk.DICOMOrient(mask, code)
    steps = np.reshape(mask.GetDirection(), (3, 3)) * mask.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3] = steps[:, ::-1]  # columns for the array's axes z, y, x
    affine[:3, 3] = mask.GetOrigin()
    return highdicom.Volume(sitk.GetArrayFromImage(mask), affine, coordinate_system="PATIENT")


def _segment() -> SegmentDescription:
    return SegmentDescription(
        segment_number=1,
        segment_label=LABEL,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Embolus,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=NAME, family=codes.DCM.ArtificialIntelligence, version=cpmn.__version__
        ),
        anatomic_regions=[codes.SCT.PulmonaryArtery],
        tracking_uid=highdicom.UID(),
        tracking_id=f"{NAME} embolus",
    )
