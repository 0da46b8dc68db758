"""One patient's prediction against the reference, and the figures over patients.

`evaluate` and `cpmn score` share this, so that a folder of masks from elsewhere is scored exactly as our own.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.artery_vein import artery_vein_ratio
from cpmn.cohort.masks import read_ids
from cpmn.cohort.sheet import Patient
from cpmn.config.evaluate import EvaluateConfig
from cpmn.scoring import metrics
from cpmn.scoring.lesions import Lesions, components, froc, mark_match, match_lesions, overlap_match
from cpmn.scoring.metrics import Estimate, estimate
from cpmn.scoring.overlap import dice, surface_agreement
from cpmn.volume.clots import clot_ids
from cpmn.volume.images import image_like, voxel_ml

logger = logging.getLogger(__name__)

OVERLAP_FRACTIONS = {"": 0.0, "_10pct": 0.1, "_20pct": 0.2}
FALSE_POSITIVE_RATES = (0.5, 1.0, 2.0, 4.0, 8.0)
NOT_NEGATIVE = (0.0, math.inf)


@dataclass(frozen=True)
class Agreement:
    """A prediction and, where there is a reference, how it agrees. Volumes in mL; undefined figures are NaN."""

    patient_id: str
    label: int
    predicted_ml: float
    reference: str = ""
    """Which reference: `nct_truth`, `nct_mask`, `propagated`, or empty for none."""
    split_clots: int = 0
    """Clots into which a reference of one value was split; 0 where its ids were kept."""
    reference_ml: float = math.nan
    shared_ml: float = math.nan
    dice: float = math.nan
    surface: dict[str, float] = field(default_factory=dict)
    lesions: Lesions | None = None
    artery_vein_ratio: float = math.nan


@dataclass(frozen=True)
class Score:
    """A patient's score and decision; `probability` says whether the score is a probability of PE."""

    value: float
    positive: bool | None
    probability: bool = False


@dataclass(frozen=True)
class Reference:
    """What a patient is scored against.

    image : clot ids on the native NCT grid; None without a reference.
    name : source, as in `Agreement.reference`.
    split_clots : as in `Agreement`.
    """

    image: sitk.Image | None = None
    name: str = ""
    split_clots: int = 0


def read_reference(patient: Patient, grid: sitk.Image, propagated: Path | None, grid_name: str = "NCT") -> Reference:
    """Clot ids on the native NCT grid and the name of their source: `nct_truth`, else `nct_mask`, else `propagated`.

    A patient without PE and without any of the three has an empty reference by its label. A `nct_truth` or `nct_mask`
    of one value is split into clots (`cpmn.volume.clots.clot_ids`); `propagated` has ids already.

    Raises PatientError as `cpmn.cohort.masks.read_ids`, for one that does not lie on `grid`, which `grid_name` names.
    """
    given = {"nct_truth": patient.nct_truth, "nct_mask": patient.nct_mask, "propagated": propagated}
    name, path = next(((name, path) for name, path in given.items() if path), ("", None))
    if path is None:
        empty = image_like(np.zeros(grid.GetSize()[::-1], dtype=np.uint16), grid)
        return Reference() if patient.label else Reference(empty, "label")
    ids = sitk.GetArrayFromImage(read_ids(patient, path, grid, grid_name, name=name))
    split = clot_ids(ids) if name != "propagated" else ids
    count = 0 if split is ids else int(split.max())
    if count:
        logger.info("patient %s: %s has one value: split into %d clots", patient.patient_id, name, count)
    return Reference(image_like(split.astype(np.uint16), grid), name, count)


def mark_lesions(probability: np.ndarray, grid: sitk.Image, threshold: float, minimum_mm3: float) -> np.ndarray:
    """Components (z, y, x), numbered from 1, of the voxels at or above `threshold`; smaller ones dropped."""
    return components(probability >= threshold, grid.GetSpacing(), minimum_mm3)


def measure(
    patient: Patient,
    labels: np.ndarray,
    reference: Reference,
    grid: sitk.Image,
    *,
    probability: np.ndarray | None = None,
    tolerance_mm: float = 1.0,
    vessels: np.ndarray | None = None,
) -> Agreement:
    """Compare numbered components `labels` (z, y, x) with a reference, both on `grid`.

    `probability` (z, y, x) gives the components their confidence; surfaces are compared for PE patients only.
    `vessels` (z, y, x), 1 artery and 2 vein, gives the artery/vein ratio.
    """
    unit = voxel_ml(grid)
    predicted_ml = float((labels != 0).sum()) * unit
    ratio = math.nan if vessels is None else artery_vein_ratio(labels, vessels, unit)
    if reference.image is None:
        return Agreement(patient.patient_id, patient.label, predicted_ml, artery_vein_ratio=ratio)
    clots = sitk.GetArrayFromImage(reference.image)
    asked = clots.any() or not patient.label  # of PE without a clot in the reference no mark is known to be false
    return Agreement(
        patient_id=patient.patient_id,
        label=patient.label,
        predicted_ml=predicted_ml,
        reference=reference.name,
        split_clots=reference.split_clots,
        reference_ml=float((clots != 0).sum()) * unit,
        shared_ml=float(((labels != 0) & (clots != 0)).sum()) * unit,
        dice=dice(labels, clots) if clots.any() else math.nan,
        surface=surface_agreement(labels, clots, grid.GetSpacing(), tolerance_mm) if clots.any() else {},
        lesions=match_lesions(labels, clots, grid.GetSpacing(), probability) if asked else None,
        artery_vein_ratio=ratio,
    )


def summarise(agreements: Sequence[Agreement], scores: Mapping[str, Score], config: EvaluateConfig) -> dict[str, Any]:
    """All figures over patients: blocks `patient`, `voxel` and `lesion` of `Estimate`s, and the kind of `reference`.

    Where patients have vessel masks there is a block `artery_vein` too.
    """
    kinds = [agreement.reference or "none" for agreement in agreements]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    several = ", ".join(f"{kind} ({count})" for kind, count in counts.items())
    return {
        "reference": several if len(counts) > 1 else "".join(counts),
        "patient": patient_figures(agreements, scores, config),
        "voxel": voxel_figures(agreements, config),
        "lesion": lesion_figures(agreements, config),
        **artery_vein_figures(agreements, scores, config),
    }


def patient_figures(
    agreements: Sequence[Agreement], scores: Mapping[str, Score], config: EvaluateConfig
) -> dict[str, Estimate]:
    """Sensitivity, specificity and the like from the decisions; AUC, AP and calibration from the scores."""
    scored = [agreement for agreement in agreements if agreement.patient_id in scores]
    own = [scores[agreement.patient_id] for agreement in scored]
    labels = [agreement.label for agreement in scored]
    decided = [(label, score.positive) for label, score in zip(labels, own, strict=True) if score.positive is not None]
    values = [score.value for score in own]
    return {
        **_decision_figures(decided, config.interval_level),
        "auc": metrics.auc(labels, values, config.interval_level),
        "average_precision": metrics.average_precision(labels, values, **_options(config)),
        **_calibration_figures(labels, own, config),
    }


def voxel_figures(agreements: Sequence[Agreement], config: EvaluateConfig) -> dict[str, Estimate]:
    """Agreement over PE patients with a reference (no prediction is Dice 0), and false volume over the others."""
    pe = [agreement for agreement in agreements if agreement.label == 1 and agreement.reference_ml > 0]
    normal = [agreement for agreement in agreements if agreement.label == 0 and agreement.reference]
    over = partial(_mean_of_defined, config=config)
    share, volume = partial(over, bounds=metrics.SHARE), partial(over, bounds=NOT_NEGATIVE)
    differences = [agreement.predicted_ml - agreement.reference_ml for agreement in pe]
    shared, sizes = (
        [2 * agreement.shared_ml for agreement in pe],
        [agreement.predicted_ml + agreement.reference_ml for agreement in pe],
    )
    return {
        "dice": share([agreement.dice for agreement in pe]),
        "dice_pooled": metrics.ratio(shared, sizes, n=len(pe), **_options(config)),
        "nsd": share([agreement.surface["nsd"] for agreement in pe]),
        "assd_mm": volume([agreement.surface["assd_mm"] for agreement in pe]),
        "hd95_mm": volume([agreement.surface["hd95_mm"] for agreement in pe]),
        "volume_difference_ml": over(differences),
        "absolute_volume_difference_ml": volume([abs(value) for value in differences]),
        "false_positive_volume_ml": volume([agreement.predicted_ml for agreement in normal]),
    }


def lesion_figures(agreements: Sequence[Agreement], config: EvaluateConfig) -> dict[str, Any]:
    """Overlap and CAD-PE figures over all patients with a reference; intervals resample patients, not clots."""
    lesions = [agreement.lesions for agreement in agreements if agreement.lesions is not None]
    figures: dict[str, Any] = {}
    for suffix, fraction in OVERLAP_FRACTIONS.items():
        figures |= _detection(lesions, partial(overlap_match, fraction=fraction), suffix, config)
    for epsilon in config.epsilon_mm:
        matched = [mark_match(item, epsilon) for item in lesions]
        hits, false = [int(hit.sum()) for hit, _ in matched], [int(wrong.sum()) for _, wrong in matched]
        figures[f"marks_within_{_word(epsilon)}_mm"] = {
            "sensitivity": metrics.ratio(hits, [len(hit) for hit, _ in matched], **_options(config)),
            "false_positives_per_scan": metrics.mean(false, bounds=NOT_NEGATIVE, **_options(config)),
        }
    curve = froc(lesions, FALSE_POSITIVE_RATES)
    clots = sum(len(item.clot_ids) for item in lesions)
    figures["froc"] = {f"sensitivity_at_{_word(rate)}": estimate(value, n=clots) for rate, value in curve.items()}
    return figures


def artery_vein_figures(
    agreements: Sequence[Agreement], scores: Mapping[str, Score], config: EvaluateConfig
) -> dict[str, dict[str, Estimate]]:
    """AUC of the artery/vein ratio as a patient score, and beside it that of `scores` on the same patients.

    Empty where nobody has a ratio. The ratio enters no decision.
    """
    rated = [
        agreement
        for agreement in agreements
        if math.isfinite(agreement.artery_vein_ratio) and agreement.patient_id in scores
    ]
    if not rated:
        return {}
    labels = [agreement.label for agreement in rated]
    ratios = [agreement.artery_vein_ratio for agreement in rated]
    values = [scores[agreement.patient_id].value for agreement in rated]
    auc = partial(metrics.auc, labels, level=config.interval_level)
    return {"artery_vein": {"auc_of_ratio": auc(ratios), "auc_of_score": auc(values)}}


def _decision_figures(decided: Sequence[tuple[int, bool]], level: float) -> dict[str, Estimate]:
    def share(condition: Callable[[int, bool], bool], among: Callable[[int, bool], bool]) -> Estimate:
        rows = [pair for pair in decided if among(*pair)]
        return metrics.proportion(sum(condition(*pair) for pair in rows), len(rows), level)

    return {
        "sensitivity": share(lambda _, positive: positive, lambda label, _: label == 1),
        "specificity": share(lambda _, positive: not positive, lambda label, _: label == 0),
        "ppv": share(lambda label, _: label == 1, lambda _, positive: positive),
        "npv": share(lambda label, _: label == 0, lambda _, positive: not positive),
        "accuracy": share(lambda label, positive: label == int(positive), lambda *_: True),
    }


def _calibration_figures(labels: Sequence[int], scores: Sequence[Score], config: EvaluateConfig) -> dict[str, Estimate]:
    names = ("brier", "ece", "calibration_slope", "calibration_intercept")
    if not scores or not all(score.probability for score in scores):
        return {name: estimate(None) for name in names}
    values = [score.value for score in scores]
    return {
        "brier": metrics.brier(labels, values, **_options(config)),
        "ece": metrics.expected_calibration_error(labels, values),
        **metrics.calibration_line(labels, values, config.interval_level),
    }


def _detection(
    lesions: Sequence[Lesions], rule: Callable[[Lesions], tuple], suffix: str, config: EvaluateConfig
) -> dict[str, Estimate]:
    matched = [both for both in map(rule, lesions) if sum(map(len, both))]  # who has neither tells nothing
    found, clots = np.array([[int(hit.sum()), len(hit)] for hit, _ in matched]).reshape(-1, 2).T
    true, marked = np.array([[int((~wrong).sum()), len(wrong)] for _, wrong in matched]).reshape(-1, 2).T
    return {
        f"recall{suffix}": metrics.ratio(found, clots, **_options(config)),
        f"precision{suffix}": metrics.ratio(true, marked, **_options(config)),
        f"f1{suffix}": metrics.bootstrap(
            partial(_f1, found, clots, true, marked),
            len(matched),
            n=int(clots.sum()),
            bounds=metrics.SHARE,
            **_options(config),
        ),
    }


def _f1(found: np.ndarray, clots: np.ndarray, true: np.ndarray, marked: np.ndarray, index: np.ndarray) -> float:
    """Harmonic mean of recall (over clots) and precision (over components)."""
    if not clots[index].sum():
        return math.nan
    recall = found[index].sum() / clots[index].sum()
    precision = true[index].sum() / marked[index].sum() if marked[index].sum() else 0.0
    return float(2 * recall * precision / (recall + precision)) if recall + precision else 0.0


def _mean_of_defined(
    values: Sequence[float], config: EvaluateConfig, bounds: tuple[float, float] = metrics.UNBOUNDED
) -> Estimate:
    return metrics.mean([value for value in values if math.isfinite(value)], bounds=bounds, **_options(config))


def _options(config: EvaluateConfig) -> dict[str, Any]:
    return {"samples": config.bootstrap_samples, "level": config.interval_level, "seed": config.seed}


def _word(number: float) -> str:
    return f"{number:g}".replace(".", "_")  # dots separate the levels of a metric's name
