"""Choosing the series of a phase among everything that lies in a folder.

A series can be used if it is CT, axial, has enough slices, and its slices form one volume. Among those, `RULES` decide
in their order. Contrast is told by the images, by tags only where an image does not tell. Two series that are equal by
all rules are refused: the user must name one.
"""

import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta

import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.continuation import join_continued
from cpmn.dicom.contrast import LOOK_MM, contrast_in_image
from cpmn.dicom.headers import FileSet
from cpmn.dicom.pixels import read_volume
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.regrid import image_of
from cpmn.dicom.series import Series, group_series
from cpmn.dicom.virtual import virtual_kind

logger = logging.getLogger(__name__)

RULES = (
    "measured, not computed",
    "lungs in view",
    "contrast as expected",
    "full coverage",
    "primary reconstruction",
    "preferred kernel",
    "thinnest slices",
)
EXPECTED = {"ctpa": ("absent", "unknown", "present"), "nct": ("present", "unknown", "absent")}  # worst first
WHERE_NAMED = "in the cohort's column '{phase}_series', or cpmn predict --series-uid"
CHOOSE_REMEDY = f"Name one of them ({WHERE_NAMED}), or set convert.preferred_kernel."
PATIENTS_REMEDY = f"Give the folder of one patient, or name the series ({WHERE_NAMED})."
VISITS_REMEDY = f"Name the series of the visit that is meant ({WHERE_NAMED}), or raise convert.maximum_interval_hours."
STRANGER = "CT slices of another patient, which form no volume, lie in the same folder: is it the right scan?"


@dataclass
class Choice:
    """The chosen series, why, what was rejected (series description and reason), and what is doubtful about it."""

    series: Series
    reason: str
    rejected: list[dict[str, str]]
    warnings: list[str] = field(default_factory=list)


def choose_series(
    file_set: FileSet, *, phase: str, series_uid: str, config: ConvertConfig, look: bool = True
) -> Choice:
    """Choose the series of `phase` ("nct" or "ctpa") by the rules above, or the one named.

    `series_uid` is a SeriesInstanceUID, or the 12-digit key that messages and JSON show, or empty. Without `look` no
    pixels are read: contrast is told by the tags alone.
    Raises SeriesProblem if the named series is absent, if none can be used, if two are equal, or if none is named and
    those that can be used are of several patients.
    """
    series = join_continued(group_series(file_set.headers, config), config, refuse=not series_uid)
    asked = _asked_for(series, series_uid) if series_uid else series
    usable = [item for item in asked if not item.problems]
    rejected = [_rejection(item, "another series was named") for item in series if item not in asked]
    rejected += [_rejection(item, "; ".join(p.problem for p in item.problems)) for item in asked if item.problems]
    if not usable:
        raise _nothing_usable(asked)
    _require_one_patient(usable, phase)
    warnings = [STRANGER] if len(_patients(series)) > 1 and not series_uid else []
    if len(usable) == 1:
        return Choice(usable[0], "named" if series_uid else "only usable series", rejected, warnings)
    for item in usable if look else ():
        ask_image(item)
    best, others, reason = _ranked(usable, phase, config)
    rejected += [_rejection(item, why_behind(best, item, phase, config)) for item in others]
    logger.warning("%d series can be read; taken is %s, %s", len(usable), best.describe(), reason)
    return Choice(best, reason, rejected, warnings)


def _ranked(usable: list[Series], phase: str, config: ConvertConfig) -> tuple[Series, list[Series], str]:
    """The best series by the rules, the others in their order, and why.

    Raises SeriesProblem if two are equal, or if what suits the phase was taken at visits too far apart.
    """
    ranks = {item.key: rank(item, phase, config) for item in usable}
    best, *others = sorted(usable, key=lambda item: ranks[item.key], reverse=True)
    suits = [item for item in usable if ranks[item.key][:3] == ranks[best.key][:3]]
    _require_one_visit(suits, phase, config)
    if equal := [item.describe() for item in others if ranks[item.key] == ranks[best.key]]:
        equal = [best.describe(), *equal]
        raise SeriesProblem(f"{len(equal)} series suit equally: {'; '.join(equal)}", CHOOSE_REMEDY.format(phase=phase))
    return best, others, f"first by the rule '{_deciding_rule(best, others[0], phase, config)}'"


def rank(series: Series, phase: str, config: ConvertConfig) -> tuple:
    """Sort key, one value per rule of `RULES`; the greatest is chosen."""
    assert series.geometry is not None
    kernel = series.first.text("ConvolutionKernel").lower()
    return (
        not virtual_kind(series.first),
        series.contrast.lungs is not False,
        EXPECTED[phase].index(series.contrast.evidence),
        series.geometry.coverage_mm >= config.full_coverage_mm,
        not series.first.image_type & {"DERIVED", "SECONDARY"},
        bool(config.preferred_kernel) and kernel == config.preferred_kernel.lower(),
        -round(series.geometry.spacing[2], 2),
    )


def why_behind(best: Series, other: Series, phase: str, config: ConvertConfig) -> str:
    """Why `other` was not taken, as a clause: the rule that decided, or that none did."""
    if rank(best, phase, config) == rank(other, phase, config):
        return "equal by all rules: look at both"
    return f"behind by the rule '{_deciding_rule(best, other, phase, config)}'"


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
    told = found.evidence != "unknown" or series.contrast.evidence == "unknown"
    series.contrast = found if told else replace(series.contrast, lungs=found.lungs)


def _patients(series: list[Series]) -> set[str]:
    """Hashes of the patients whose CT slices the series hold; those without PatientID are not told apart."""
    return {header.patient for item in series for header in item.slices if header.patient}


def _require_one_patient(series: list[Series], phase: str) -> None:
    if (count := len(_patients(series))) > 1:
        problem = f"there are CT series of {count} patients: {'; '.join(item.describe() for item in series)}"
        raise SeriesProblem(problem, PATIENTS_REMEDY.format(phase=phase))


def _require_one_visit(series: list[Series], phase: str, config: ConvertConfig) -> None:
    """Raise SeriesProblem where series that suit the phase were taken further apart than the scans of a pair may be."""
    times = sorted(item.identity.acquired for item in series if item.identity.acquired)
    if times and times[-1] - times[0] > timedelta(hours=config.maximum_interval_hours):
        hours = (times[-1] - times[0]).total_seconds() / 3600
        listed = "; ".join(item.describe() for item in series)
        problem = f"series of several visits, {spoken_interval(hours)} apart, suit as {phase.upper()}: {listed}"
        raise SeriesProblem(problem, VISITS_REMEDY.format(phase=phase))


def spoken_interval(hours: float) -> str:
    """An interval for messages: hours up to two days, then days."""
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"


def _asked_for(series: list[Series], wanted: str) -> list[Series]:
    """What a request names: one series, or the acquisitions of one."""
    found = [item for item in series if wanted in item.names]
    if not found:
        raise SeriesProblem(
            f"the named series '{wanted}' is not in the folder; it holds {'; '.join(s.describe() for s in series)}",
            "Correct the cohort's series column, or --series-uid of cpmn predict.",
        )
    return found


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
