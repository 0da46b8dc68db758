"""The scan's own files, without their pixels, as a result refers to them and repeats what they say of the patient."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.archive import unzipped
from cpmn.dicom.choice import choose_series
from cpmn.dicom.geometry import Geometry
from cpmn.dicom.headers import read_dicom, read_file_set
from cpmn.dicom.problem import SeriesProblem
from cpmn.files import sha256_of_json

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


@dataclass(frozen=True)
class ScanFiles:
    """Data sets of a series' files in the order of the volume, and where they lie."""

    datasets: list[pydicom.Dataset]
    geometry: Geometry

    @property
    def content(self) -> tuple[str, ...]:
        """Series, and a hash of their slices: a scan that has grown, or another acquisition of a series, is another."""
        return (*self.series, sha256_of_json(sorted(str(one.SOPInstanceUID) for one in self.datasets)))

    @property
    def series(self) -> tuple[str, ...]:
        """SeriesInstanceUIDs, one or those of a scan that an archive cut."""
        return tuple(dict.fromkeys(str(one.SeriesInstanceUID) for one in self.datasets))


class WrongTags(Exception):
    """Tags that a result has to repeat are missing or wrong; says which, perhaps in the scan's own words."""


@contextmanager
def repeating_tags() -> Iterator[None]:
    """While DICOM files are made that refer to a scan: raises WrongTags for what `read_scan_files` or highdicom raise.

    Nothing is said of values, names among them, that are not written the way that the standard asks for.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError, SeriesProblem) as error:
            raise WrongTags(str(error)) from error


def read_scan_files(
    source: Path, series: str, config: ConvertConfig, *, phase: str = "nct", identity: bool
) -> ScanFiles:
    """Files of the series with the key `series` in a folder or .zip.

    With `identity` they say of patient, study and scanner what the scan says, without only what `KEPT` lists. Sequences
    are kept in neither case, but for those of a multi-frame file: they may be broken, and a result would inherit that.

    Raises ValueError for what no result can refer to, SeriesProblem as `choose_series`.
    """
    with unzipped(source, config.maximum_unzipped_gb) as files:
        choice = choose_series(read_file_set(source, files), phase=phase, series_uid=series, config=config)
        assert choice.series.geometry is not None
        paths = dict.fromkeys(header.path for header in choice.series.slices)
        datasets = [read_dicom(path, stop_before_pixels=True) for path in paths]
    for one in datasets:
        if "NumberOfFrames" in one and GROUPS[1] not in one:
            del one.NumberOfFrames  # 1, of a plain slice
    _check(datasets)
    chosen = [_alike(_without_sequences(one) if identity else _without_identity(one), datasets[0]) for one in datasets]
    return ScanFiles([_complete(one) for one in chosen], choice.series.geometry)


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


def _without_sequences(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """All but sequences and private elements."""
    kept = [one for one in dataset if not one.tag.is_private and (one.VR != "SQ" or one.keyword in GROUPS)]
    return pydicom.Dataset({one.tag: one for one in kept})


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
