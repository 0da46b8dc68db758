"""One scan, from DICOM files or an image file to HU, with the facts of where it comes from.

The result is always ordered x to the left, y to the back, z to the head (LPS); reordering is exact. The facts
hold no name, identifier, date or UID: a series is named by a hash of its UID.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.archive import unzipped
from cpmn.dicom.choice import RULES, Choice, choose_series
from cpmn.dicom.contrast import Contrast, contrast_evidence, contrast_in_image
from cpmn.dicom.headers import FileSet, read_file_set
from cpmn.dicom.identity import Identity
from cpmn.dicom.imagefile import is_image_file, read_file
from cpmn.dicom.numbering import numbering_of
from cpmn.dicom.pixels import Volume, read_volume
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.references import references_of
from cpmn.dicom.regrid import image_of
from cpmn.dicom.series import Series
from cpmn.dicom.virtual import virtual_kind
from cpmn.errors import PatientError
from cpmn.files import files_of, sha256_of_files

logger = logging.getLogger(__name__)

NO_HEADERS = {
    "source": "image file",
    "series": None,
    "contrast": {"evidence": "unknown", "from": "an image file has no such tag"},
    "contrast_by_tags": "unknown",
    "unreadable_files": 0,
    "virtual": "",
    "told_apart": "",
    "numbering": "",
    "identity": Identity(),
}
"""What the headers of an image file say."""
NOWHERE = "the file states neither orientation nor position: its axes are taken as the format has them without"
ORIENTATION = "LPS"  # x to the left, y to the back (posterior), z to the head (superior)


def read_scan(
    source: Path, *, patient: str, phase: str, series_uid: str, config: ConvertConfig
) -> tuple[sitk.Image, dict[str, Any]]:
    """Read a folder or a .zip of DICOM files, or one image file, in HU.

    Parameters
    ----------
    phase : "nct" or "ctpa"; decides which contrast is expected where there are several series.
    series_uid : SeriesInstanceUID, or the key that messages show for it; empty chooses by the rules.

    Returns
    -------
    The image (int16 HU, ordered LPS, geometry in mm) and the facts that go into its JSON.

    Raises PatientError with what is wrong, where, and what to do.
    """
    source = Path(source)
    try:
        if not source.exists():
            raise SeriesProblem(f"the {phase.upper()} does not exist", "Correct the path.", source)
        if not source.is_file() and not source.is_dir():  # a pipe would be waited for without end
            raise SeriesProblem(f"the {phase.upper()} is neither a file nor a folder", "Correct the path.", source)
        if source.is_file() and is_image_file(source):
            if series_uid:
                raise SeriesProblem("a series is named, but an image file holds none", "Leave the series out.", source)
            image, facts = _convert_file(source, config)
        else:
            image, facts = _convert_dicom(source, phase, series_uid, config)
    except SeriesProblem as problem:
        raise PatientError(patient, problem.problem, problem.remedy, problem.file or source) from problem
    image = sitk.DICOMOrient(image, ORIENTATION)
    facts["contrast_by_tags"], facts["contrast"] = facts["contrast"].evidence, _contrast(image, facts["contrast"])
    facts["warnings"] += ["the slices were compressed with loss: HU are approximate"] if facts["lossy"] else []
    for warning in facts["warnings"]:
        logger.warning("patient %s, %s: %s", patient, phase, warning)
    facts["contrast"] = facts["contrast"].to_json()
    return image, {"phase": phase, **facts, **_describe_image(image)}


def _convert_dicom(source: Path, phase: str, series_uid: str, config: ConvertConfig) -> tuple[sitk.Image, dict]:
    with unzipped(source, config.maximum_unzipped_gb) as files:
        return _convert_files(source, files, phase, series_uid, config)


def _convert_files(
    source: Path, files: list[Path], phase: str, series_uid: str, config: ConvertConfig
) -> tuple[sitk.Image, dict]:
    file_set = read_file_set(source, files)
    choice = choose_series(file_set, phase=phase, series_uid=series_uid, config=config)
    series, geometry = choice.series, choice.series.geometry
    assert geometry is not None
    volume = read_volume(series.slices, geometry)
    return image_of(volume.hu, geometry), _dicom_facts(file_set, choice, volume)


def read_headers(source: Path, *, phase: str, series_uid: str, config: ConvertConfig) -> dict[str, Any]:
    """The facts of a scan that its headers hold, for the same checks as `read_scan`'s; no pixels are read.

    Of an image file, which has no such headers, only that it is one. Raises SeriesProblem as `choose_series`.
    """
    if source.is_file() and is_image_file(source):
        return NO_HEADERS
    with unzipped(source, config.maximum_unzipped_gb) as files:
        file_set = read_file_set(source, files)
        choice = choose_series(file_set, phase=phase, series_uid=series_uid, config=config, look=False)
    tags = contrast_evidence(choice.series.first)
    return _header_facts(file_set, choice) | {"contrast": tags.to_json(), "contrast_by_tags": tags.evidence}


def _header_facts(file_set: FileSet, choice: Choice) -> dict[str, Any]:
    """What the checks ask of the chosen series' headers."""
    series, slices = choice.series, choice.series.slices
    upward = series.geometry is None or series.geometry.direction[2, 2] > 0
    numbering = numbering_of(slices if upward else slices[::-1])
    return {
        "source": "dicom",
        "series": series.key,
        "unreadable_files": len(file_set.unreadable),
        "virtual": virtual_kind(series.first),
        "told_apart": series.told_apart,
        "numbering": numbering.describe() if numbering else "",
        "identity": series.identity,
    }


def _dicom_facts(file_set: FileSet, choice: Choice, volume: Volume) -> dict[str, Any]:
    series, first = choice.series, choice.series.first
    lossy = first.text("LossyImageCompression") == "01"
    return _header_facts(file_set, choice) | {
        "identity": replace(series.identity, references=references_of(series.slices)),
        "source_sha256": sha256_of_files({header.path for header in series.slices}),
        "scanner": {"manufacturer": first.text("Manufacturer"), "model": first.text("ManufacturerModelName")},
        "kernel": first.text("ConvolutionKernel") or None,
        "kvp": first.number("KVP"),
        "contrast": contrast_evidence(first),
        "patient_position": first.text("PatientPosition") or None,
        "transfer_syntax": volume.transfer_syntax,
        "lossy": lossy,
        "hu_from": "RescaleSlope and RescaleIntercept of each slice",
        "slices": len(series.slices),
        "slice_thickness_tag_mm": first.number("SliceThickness"),
        "padding_voxels": volume.padding_voxels,
        "saturated_voxels": volume.saturated_voxels,
        "rounded_voxels": 0,
        "chosen_because": choice.reason,
        "rules": list(RULES),
        "rejected": choice.rejected,
        "warnings": list(choice.warnings),
        "rejected_files": dict(series.dropped),
        "ignored_files": dict(file_set.ignored),
        "repaired": _repairs(series, volume),
    }


def _repairs(series: Series, volume: Volume) -> list[str]:
    repairs, geometry = [], series.geometry
    if geometry and geometry.shifts:
        repairs.append(
            f"gantry tilt of {geometry.tilt_degrees:.1f} degrees: each slice moved in its plane by up to "
            f"{np.max(geometry.shifts):.1f} pixels, air added around it: HU are interpolated"
        )
    if geometry and geometry.uneven:
        repairs.append(
            f"{len(series.slices)} unevenly spaced slices resampled to {len(volume.hu)} every "
            f"{geometry.spacing[2]:.3f} mm: HU are interpolated"
        )
    if volume.padding_voxels:
        repairs.append(f"{volume.padding_voxels} padding voxels below -1024 HU set to -1024")
    if volume.stated_padding_voxels:
        repairs.append(f"{volume.stated_padding_voxels} voxels that the header calls padding set to -1024 HU")
    if volume.saturated_voxels:
        repairs.append(f"{volume.saturated_voxels} voxels above 32767 HU set to 32767")
    return repairs


def _contrast(image: sitk.Image, by_tags: Contrast) -> Contrast:
    """The image's own evidence of contrast medium; the tags' where the image does not tell."""
    found = contrast_in_image(image)
    if found.evidence != "unknown" or by_tags.evidence == "unknown":
        return found
    return Contrast(by_tags.evidence, by_tags.source, found.blood_hu)


def _convert_file(source: Path, config: ConvertConfig) -> tuple[sitk.Image, dict[str, Any]]:
    volume = read_file(source, config)
    repairs = {
        "padding voxels below -1024 HU set to -1024": volume.padding_voxels,
        "voxels above 32767 HU set to 32767": volume.saturated_voxels,
        "fractional values rounded to whole HU": volume.rounded_voxels,
    }
    return volume.image, NO_HEADERS | {
        "source": f"image file of {volume.stored_type}",
        "source_sha256": sha256_of_files(files_of(source)),
        "scanner": None,
        "kernel": None,
        "kvp": None,
        "contrast": Contrast("unknown", "an image file has no such tag"),
        "patient_position": None,
        "transfer_syntax": None,
        "lossy": None,
        "slices": volume.image.GetSize()[2],
        "slice_thickness_tag_mm": None,
        "padding_voxels": volume.padding_voxels,
        "saturated_voxels": volume.saturated_voxels,
        "rounded_voxels": volume.rounded_voxels,
        "chosen_because": "an image file holds one volume",
        "rules": list(RULES),
        "rejected": [],
        "warnings": [] if volume.states_a_place else [NOWHERE],
        "rejected_files": {},
        "ignored_files": {},
        "repaired": [f"{count} {what}" for what, count in repairs.items() if count],
        "hu_from": "values as stored: an image file cannot confirm that they are HU",
    }


def _describe_image(image: sitk.Image) -> dict[str, Any]:
    statistics = sitk.MinimumMaximumImageFilter()
    statistics.Execute(image)
    return {
        "size": image.GetSize(),
        "spacing_mm": image.GetSpacing(),
        "hu_range": [int(statistics.GetMinimum()), int(statistics.GetMaximum())],
    }
