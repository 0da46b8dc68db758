"""Choosing the series of a phase among everything that lies in a folder.

A series can be used if it is CT, axial, has enough slices, and its slices form one volume (`stack_geometry`).
Among those, `RULES` decide in their order: contrast as the phase expects, full coverage, primary reconstruction,
preferred kernel, thinnest slices. Where the tags leave several series level in contrast, their images are asked.
Two series that are equal by all rules are refused: the user must name one.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.contrast import LOOK_MM, Contrast, contrast_evidence, contrast_in_image
from cpmn.dicom.geometry import Geometry, stack_geometry
from cpmn.dicom.headers import Header, Scan, reason_not_a_slice
from cpmn.dicom.pixels import read_volume
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.regrid import image_of

logger = logging.getLogger(__name__)

RULES = ("contrast as expected", "full coverage", "primary reconstruction", "preferred kernel", "thinnest slices")
EXPECTED = {"ctpa": ("absent", "unknown", "present"), "nct": ("present", "unknown", "absent")}  # worst first
WHERE_NAMED = "in the cohort's column '{phase}_series', or cpmn predict --series-uid"
CHOOSE_REMEDY = f"Name one of them ({WHERE_NAMED}), or set convert.preferred_kernel."
PATIENTS_REMEDY = f"Give the folder of one patient, or name the series ({WHERE_NAMED})."
STRANGER = "CT slices of another patient, which form no volume, lie in the same folder: is it the right scan?"


@dataclass
class Series:
    """DICOM files of one SeriesInstanceUID.

    Attributes
    ----------
    key : first 12 hex digits of the SHA-256 of the UID, which stands for the UID in all that is written.
    slices : headers that can be CT slices; in the order of the volume once `geometry` is set.
    dropped : number of other files of the series, by reason.
    geometry : set if the slices form a volume.
    problems : why the series cannot be used; empty if it can.
    contrast : evidence of contrast medium; from the header, or from the image once that was asked.
    """

    key: str
    uid: str
    slices: list[Header] = field(default_factory=list)
    dropped: Counter = field(default_factory=Counter)
    geometry: Geometry | None = None
    problems: list[SeriesProblem] = field(default_factory=list)
    contrast: Contrast = field(default_factory=lambda: Contrast("unknown", "no tag"))

    @property
    def first(self) -> Header:
        """Header of the first slice, for the tags that all slices share."""
        return self.slices[0]

    def describe(self) -> str:
        """One clause for messages and JSON, without anything that identifies the patient."""
        if self.geometry is None:
            return f"series {self.key}"
        contrast, kernel = self.contrast.evidence, self.first.text("ConvolutionKernel") or "unknown"
        return (
            f"series {self.key} (number {self.first.text('SeriesNumber') or '?'}, {len(self.slices)} slices every "
            f"{self.geometry.spacing[2]:.2f} mm, kernel {kernel}, contrast {contrast})"
        )


@dataclass
class Choice:
    """The chosen series, why, what was rejected (series description and reason), and what is doubtful about it."""

    series: Series
    reason: str
    rejected: list[dict[str, str]]
    warnings: list[str] = field(default_factory=list)


def series_key(uid: str) -> str:
    """Name of a series that does not reveal its UID."""
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


def choose_series(scan: Scan, *, phase: str, series_uid: str, config: ConvertConfig) -> Choice:
    """Choose the series of `phase` ("nct" or "ctpa") by the rules above, or the one named.

    `series_uid` is a SeriesInstanceUID, or the 12-digit key that messages and JSON show, or empty.
    Raises SeriesProblem if the named series is absent, if none can be used, if two are equal, or if none is named and
    those that can be used are of several patients.
    """
    series = group_series(scan.headers, config)
    if series_uid:
        return _named(series, series_uid)
    usable = [item for item in series if not item.problems]
    rejected = [_rejection(item, "; ".join(p.problem for p in item.problems)) for item in series if item.problems]
    if not usable:
        raise _nothing_usable(series)
    _require_one_patient(usable, phase)
    warnings = [STRANGER] if len(_patients(series)) > 1 else []
    for item in _doubtful(usable, phase):
        ask_image(item)
    ranked = sorted(usable, key=lambda item: rank(item, phase, config), reverse=True)
    best, others = ranked[0], ranked[1:]
    if others and rank(others[0], phase, config) == rank(best, phase, config):
        equal = [item.describe() for item in ranked if rank(item, phase, config) == rank(best, phase, config)]
        raise SeriesProblem(f"{len(equal)} series suit equally: {'; '.join(equal)}", CHOOSE_REMEDY.format(phase=phase))
    for item in others:
        rejected.append(_rejection(item, f"behind by the rule '{_deciding_rule(best, item, phase, config)}'"))
    if not others:
        return Choice(best, "only usable series", rejected, warnings)
    reason = f"first by the rule '{_deciding_rule(best, others[0], phase, config)}'"
    logger.warning("%d series can be read; taken is %s, %s", len(ranked), best.describe(), reason)
    return Choice(best, reason, rejected, warnings)


def group_series(headers: list[Header], config: ConvertConfig) -> list[Series]:
    """Group headers by series, set aside what is no CT slice, and work out each series' geometry or problems."""
    groups: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        groups[header.text("SeriesInstanceUID") or f"folder {header.path.parent}"].append(header)
    return [_examine(Series(series_key(uid), uid), group, config) for uid, group in sorted(groups.items())]


def rank(series: Series, phase: str, config: ConvertConfig) -> tuple:
    """Sort key, one value per rule of `RULES`; the greatest is chosen."""
    assert series.geometry is not None
    kernel = series.first.text("ConvolutionKernel").lower()
    return (
        EXPECTED[phase].index(series.contrast.evidence),
        series.geometry.coverage_mm >= config.full_coverage_mm,
        not series.first.image_type & {"DERIVED", "SECONDARY"},
        bool(config.preferred_kernel) and kernel == config.preferred_kernel.lower(),
        -round(series.geometry.spacing[2], 2),
    )


def ask_image(series: Series) -> None:
    """Replace the tags' evidence of contrast by the image's, if that has any; slices some 4 mm apart are enough."""
    assert series.geometry is not None
    step = max(1, int(LOOK_MM / series.geometry.spacing[2]))
    geometry = series.geometry.every(step)
    try:
        volume = read_volume(series.slices[::step], geometry)
    except SeriesProblem as problem:  # it is raised again if this series is chosen
        logger.warning("series %s could not be looked at: %s", series.key, problem.problem)
        return
    found = contrast_in_image(sitk.DICOMOrient(image_of(volume.hu, geometry), "LPS"))
    if found.evidence != "unknown" or series.contrast.evidence == "unknown":
        series.contrast = found


def _patients(series: list[Series]) -> set[str]:
    """Hashes of the patients whose CT slices the series hold; those without PatientID are not told apart."""
    return {header.patient for item in series for header in item.slices if header.patient}


def _require_one_patient(series: list[Series], phase: str) -> None:
    if (count := len(_patients(series))) > 1:
        problem = f"there are CT series of {count} patients: {'; '.join(item.describe() for item in series)}"
        raise SeriesProblem(problem, PATIENTS_REMEDY.format(phase=phase))


def _doubtful(series: list[Series], phase: str) -> list[Series]:
    """Series to look into: several are level in contrast, and not because their own descriptions say so.

    ContrastBolusAgent alone does not settle it, as it is often copied to every series of a study.
    """
    ranks = [EXPECTED[phase].index(item.contrast.evidence) for item in series]
    level = [item for item, rank in zip(series, ranks, strict=True) if rank == max(ranks)]
    said = {"evidence": EXPECTED[phase][-1], "from": "SeriesDescription"}
    return [item for item in level if item.contrast.to_json() != said] if len(level) > 1 else []


def _examine(series: Series, headers: list[Header], config: ConvertConfig) -> Series:
    reasons = [reason_not_a_slice(header) for header in headers]
    series.slices = [header for header, reason in zip(headers, reasons, strict=True) if reason is None]
    series.dropped = Counter(reason for reason in reasons if reason is not None)
    if not series.slices:
        listed = ", ".join(series.dropped)
        series.problems.append(SeriesProblem(listed, "Give the folder of an axial CT series.", headers[0].path.parent))
        return series
    if len(series.slices) < config.minimum_slices:
        series.problems.append(
            SeriesProblem(
                f"the series has {len(series.slices)} CT slices, at least {config.minimum_slices} are needed",
                "Give a whole chest, or lower convert.minimum_slices.",
            )
        )
    if len(series.slices) == 1:
        return series
    try:
        series.geometry = stack_geometry(series.slices, config)
        series.slices = [series.slices[i] for i in series.geometry.order]
        series.contrast = contrast_evidence(series.first)
    except SeriesProblem as problem:
        series.problems.append(problem)
    return series


def _named(series: list[Series], wanted: str) -> Choice:
    found = next((item for item in series if wanted in (item.uid, item.key)), None)
    if found is None:
        raise SeriesProblem(
            f"the named series '{wanted}' is not in the folder; it holds {'; '.join(s.describe() for s in series)}",
            "Correct the cohort's series column, or --series-uid of cpmn predict.",
        )
    if found.problems:
        raise _joined(found.problems)
    others = [_rejection(item, "another series was named") for item in series if item is not found]
    return Choice(found, "named", others)


def _rejection(series: Series, reason: str) -> dict[str, str]:
    return {"series": series.describe(), "reason": reason}


def _deciding_rule(best: Series, other: Series, phase: str, config: ConvertConfig) -> str:
    pairs = zip(RULES, rank(best, phase, config), rank(other, phase, config), strict=True)
    return next(rule for rule, first, second in pairs if first != second)


def _nothing_usable(series: list[Series]) -> SeriesProblem:
    if len(series) == 1:
        return _joined(series[0].problems, "no usable CT series: ")
    listed = "; ".join(f"{item.describe()}: {' and '.join(p.problem for p in item.problems)}" for item in series)
    return SeriesProblem(f"no usable CT series: {listed}", "Give the folder of an axial CT series in HU.")


def _joined(problems: list[SeriesProblem], prefix: str = "") -> SeriesProblem:
    last = problems[-1]
    return SeriesProblem(prefix + "; ".join(p.problem for p in problems), last.remedy, last.file)
