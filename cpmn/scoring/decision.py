"""From a fold's outputs to one patient score and one decision.

`evaluate` fits the rule and writes it to `decision.json`; `predict` applies it. It is fitted on the cohort's
calibration patients where the sheet names any, else on the validation patients, each read by the fold that held it out:

1. each fold's model gives two features of a patient: the logit of its class probability, and the log of its lesion
   evidence (probability-weighted volume of what it marks);
2. features are standardised on *the normals that the fold did not train on*, because networks trained apart do not
   agree on what a normal chest looks like. A patient seen by several folds gets the mean of the standardised features;
3. the features are combined, by logistic regression where there are enough such patients, else by their mean. A feature
   that the regression would count against PE is left out;
4. the threshold is the lowest that reaches the target specificity on the same normals. Test patients are never read.

All of this is our choice: of CPMN only the abstract was at hand, which states no decision rule.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from scipy.special import expit

from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.config.evaluate import READING, EvaluateConfig, Fraction, LesionVolume, Overlap
from cpmn.config.section import Section
from cpmn.config.train.kinds import Hounsfield

FEATURES = ("classification", "lesion")
SMALLEST_PROBABILITY = 1e-6
"""Class probabilities are clipped here before the logit, so that a saturated output stays finite (our choice; that of
`cpmn.model.inference.pool_volume`: at 1e-4 half of the PE patients of a good model were tied at the top)."""
SMALLEST_EVIDENCE_ML = 0.01
"""Added to the evidence before the logarithm: a few voxels, well under the median clot of 0.3 mL (our choice)."""
ABOVE_ALL = 1e-6  # our choice: a distance that survives rounding when the threshold is written or shown
PRIOR_SD, PRIOR_WEIGHT = 1.0, 3.0
"""A fold's standard deviation is shrunk to one log unit as if three more normals had shown it (our choice): with two
or three validation normals the plain estimate is mostly chance, and with one it does not exist."""

Features = dict[str, float]


# Limits of what stands in `decision.json`: ours, wide of what a fit gives, so that a damaged file does not decide.
Count = Annotated[int, Field(ge=0, le=10**9)]
Number = Annotated[float, Field(ge=-1e4, le=1e4)]
Sha256 = Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]


class Standard(Section):
    """Mean and standard deviation of one feature over the normals that one fold did not train on."""

    mean: Annotated[float, Field(ge=-100, le=100)]
    sd: Annotated[float, Field(ge=0.001, le=100)]
    n_normal: Count


class Combination(Section):
    """Weights of the standardised features; `logistic` turns the sum into a probability at the fitted prevalence."""

    rule: str
    logistic: bool
    weights: dict[str, Annotated[float, Field(ge=0, le=1e4)]]
    intercept: Number
    n_pe: Count
    n_normal: Count


class Threshold(Section):
    """Patient threshold and where it comes from; `value` is None when there was no normal to fit it on."""

    value: Number | None
    rule: str
    target: Annotated[float, Field(gt=0, lt=1)]
    fitted_on: str
    n_pe: Count
    n_normal: Count


class TrainedOn(Section):
    """What a model's networks saw, as far as the run can tell; part of the model and of its hash.

    kind : `phantom` (computed scans), `simulated` (real chests, simulated emboli) or `patients`, by the scans' own
        headers; None where these do not tell, as those of NIfTI files.
    cohort, cohort_sha256 : its name and the hash of its sheet and files (`cpmn.job.identity.data_hash`).
    n_pe, n_normal : patients that any fold was trained on.
    date, version : day (UTC) on which the last weights were written, and the version of this package that trained them.
    """

    kind: Literal["phantom", "simulated", "patients"] | None
    cohort: str
    cohort_sha256: Sha256
    n_pe: Count
    n_normal: Count
    date: str
    version: str


class Marks(Section):
    """How many marks the patients had whom the decision was fitted on; `most_without_pe` is of those it calls no PE."""

    patients: Count
    most: Count
    most_without_pe: Count | None


class Change(Section):
    """A change that was made by hand after a model was evaluated: the day (UTC), the hash before, and why."""

    date: str
    former_sha256: Sha256
    reason: str


class Seal(Section):
    """The hash of a model, and those of its parts, by the names of the files (`cpmn.model.seal`)."""

    sha256: Sha256
    parts: dict[str, Sha256]


class Decision(Section):
    """Everything that `predict` needs to decide as `evaluate` did, with the networks that `seal` names."""

    variant: str
    folds: dict[Annotated[int, Field(ge=0, le=999)], dict[str, Standard]] = Field(min_length=1)
    combination: Combination
    threshold: Threshold
    segmentation_threshold: Fraction
    minimum_lesion_mm3: LesionVolume
    overlap: Overlap
    mirror: bool = False
    highest_hu: Hounsfield | None = None
    bfloat16: bool = False
    anatomy: bool = False
    crop: CropConfig
    convert: ConvertConfig = Field(default_factory=lambda: ConvertConfig.model_validate({}))
    trained_on: TrainedOn | None = None
    marks: Marks | None = None
    changes: tuple[Change, ...] = ()
    seal: Seal | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Decision":
        if sorted(self.folds) != list(range(len(self.folds))):
            raise ValueError(f"folds are {sorted(self.folds)}, not 0 to {len(self.folds) - 1}")
        if any(set(named) != set(FEATURES) for named in (*self.folds.values(), self.combination.weights)):
            raise ValueError(f"each fold and the weights need {' and '.join(FEATURES)}, and nothing else")
        value = self.threshold.value
        if self.combination.logistic and value is not None and not 0 <= value <= 1 + ABOVE_ALL:
            raise ValueError(f"threshold {value} is no probability, which the score is")
        if not any(self.combination.weights.values()):
            raise ValueError("all weights are 0: every patient would get the same score")
        return self


@dataclass(frozen=True)
class Unseen:
    """A patient as the folds that did not train on it see it: `features` by fold, one for a validation patient."""

    patient_id: str
    label: int
    features: Mapping[int, Features]


def patient_features(
    class_probability: float, probability: np.ndarray, voxel_ml: float, segmentation_threshold: float
) -> Features:
    """Features of one patient from one fold's model.

    Parameters
    ----------
    class_probability : of the classification head, 0-1.
    probability : embolus probability per voxel, (z, y, x).
    voxel_ml : volume of a voxel in mL.
    segmentation_threshold : voxels at or above count as marked.
    """
    clipped = min(max(float(class_probability), SMALLEST_PROBABILITY), 1 - SMALLEST_PROBABILITY)
    marked = probability[probability >= segmentation_threshold]
    evidence_ml = float(marked.sum(dtype=np.float64)) * voxel_ml
    return {
        "classification": math.log(clipped / (1 - clipped)),
        "lesion": math.log(evidence_ml + SMALLEST_EVIDENCE_ML),
    }


def fit_decision(
    patients: Sequence[Unseen],
    variant: str,
    folds: int,
    config: EvaluateConfig,
    *,
    part: str = "validation",
    crop: CropConfig | None = None,
    convert: ConvertConfig | None = None,
) -> Decision:
    """Fit standardisation, combination and threshold on `patients`, whom the rules name by their `part` of the cohort.

    `crop` and `convert` (default settings if not given) are only kept, so that `predict` converts and crops as the
    training did.
    """
    standards = _fit_standards(patients, folds)
    features = [standardise(p.features, standards) for p in patients]
    labels = [p.label for p in patients]
    combination = _fit_combination(features, labels, config.minimum_fit_patients, _named(part))
    scores = [combine(item, combination) for item in features]
    return Decision(
        variant=variant,
        folds=standards,
        combination=combination,
        threshold=_fit_threshold(scores, labels, config.target_specificity, part),
        segmentation_threshold=config.segmentation_threshold,
        minimum_lesion_mm3=config.minimum_lesion_mm3,
        **config.model_dump(include=READING),
        crop=crop or CropConfig.model_validate({}),
        convert=convert or ConvertConfig.model_validate({}),
    )


def patient_score(features_by_fold: Mapping[int, Features], decision: Decision) -> float:
    """Score of a patient from the features that one or more folds' models gave it."""
    return combine(standardise(features_by_fold, decision.folds), decision.combination)


def is_positive(score: float, decision: Decision) -> bool | None:
    """Whether the score reaches the threshold; None when there is no threshold."""
    value = decision.threshold.value
    return None if value is None else score >= value


def standardise(features_by_fold: Mapping[int, Features], folds: Mapping[int, Mapping[str, Standard]]) -> Features:
    """Mean over folds of the features, each in standard deviations above its fold's unseen normals."""
    return {
        name: float(
            np.mean([(item[name] - folds[k][name].mean) / folds[k][name].sd for k, item in features_by_fold.items()])
        )
        for name in FEATURES
    }


def combine(features: Features, combination: Combination) -> float:
    """Weighted sum of standardised features, through the logistic function if it was fitted so."""
    total = combination.intercept + sum(combination.weights[name] * features[name] for name in FEATURES)
    return float(expit(total)) if combination.logistic else float(total)


def lowest_threshold(normal: Sequence[float], pe: Sequence[float], target: float) -> float | None:
    """Lowest score at which the share of `normal` below it is at least `target`.

    Any value between the last normal that must be called negative and the next score above it gives the same
    decisions; the middle is taken, and `ABOVE_ALL` above that normal where no score lies higher. None without normals.
    """
    if not normal:
        return None
    ordered = sorted(normal)
    accepted_false = math.floor((1 - target) * len(ordered) + 1e-9)
    last = ordered[len(ordered) - 1 - accepted_false]
    above = [score for score in (*normal, *pe) if score > last]
    if not above:
        return last + ABOVE_ALL
    middle = (last + min(above)) / 2
    return middle if middle > last else min(above)  # next floating-point numbers have no middle


def _named(part: str) -> str:
    return "out-of-fold validation patients" if part == "validation" else f"{part} patients"


def _fit_standards(patients: Sequence[Unseen], folds: int) -> dict[int, dict[str, Standard]]:
    normals = [p for p in patients if p.label == 0]
    standards = {}
    for fold in range(folds):
        own = [p.features[fold] for p in normals if fold in p.features]
        # a fold whose normals were all excluded borrows the others' rather than leave its scores on another scale
        shown = own or [features for p in normals for features in p.features.values()]
        standards[fold] = {name: _standard([item[name] for item in shown], len(own)) for name in FEATURES}
    return standards


def _standard(values: Sequence[float], n_normal: int) -> Standard:
    if not values:
        return Standard(mean=0.0, sd=PRIOR_SD, n_normal=0)
    centre = float(np.mean(values))
    squares = float(np.sum((np.asarray(values) - centre) ** 2)) + PRIOR_WEIGHT * PRIOR_SD**2
    return Standard(mean=centre, sd=math.sqrt(squares / (len(values) - 1 + PRIOR_WEIGHT)), n_normal=n_normal)


def _fit_combination(features: Sequence[Features], labels: Sequence[int], minimum: int, fitted_on: str) -> Combination:
    n_pe, n_normal = sum(labels), len(labels) - sum(labels)
    equal = Combination(
        rule=f"mean of the standardised features (fewer than {minimum} {fitted_on} of a class)",
        logistic=False,
        weights=dict.fromkeys(FEATURES, 1 / len(FEATURES)),
        intercept=0.0,
        n_pe=n_pe,
        n_normal=n_normal,
    )
    if min(n_pe, n_normal) < minimum:
        return equal
    weights, intercept = _logistic_weights(features, labels, FEATURES)
    rule = f"logistic regression (L2, C = 1) on the standardised features of {fitted_on}"
    if dropped := [name for name in FEATURES if weights[name] < 0]:
        kept = [name for name in FEATURES if name not in dropped]
        weights, intercept = _logistic_weights(features, labels, kept) if kept else (weights, intercept)
        rule += f", without {' and '.join(dropped)}, which would get a negative weight"
    if min(weights.values()) < 0 or not any(weights.values()):  # a feature that is the same in all gets 0
        rule = "mean of the standardised features (in the logistic fit none of them would count for PE)"
        return equal.model_copy(update={"rule": rule})
    return equal.model_copy(update={"rule": rule, "logistic": True, "weights": weights, "intercept": intercept})


def _logistic_weights(
    features: Sequence[Features], labels: Sequence[int], names: Sequence[str]
) -> tuple[Features, float]:
    """Weights of all features, 0 for those that are not among `names`, and the intercept."""
    from sklearn.linear_model import LogisticRegression  # heavy; `predict` only applies the weights

    table = np.array([[item[name] for name in names] for item in features])
    fit = LogisticRegression(C=1.0).fit(table, labels)
    weights = dict(zip(names, map(float, fit.coef_[0]), strict=True))
    return dict.fromkeys(FEATURES, 0.0) | weights, float(fit.intercept_[0])


def _fit_threshold(scores: Sequence[float], labels: Sequence[int], target: float, part: str) -> Threshold:
    normal = [score for score, label in zip(scores, labels, strict=True) if label == 0]
    pe = [score for score, label in zip(scores, labels, strict=True) if label == 1]
    rule = f"lowest score with specificity >= {target:g} on {part} normals; positive at or above it"
    if not normal:
        rule = f"none: no normal among the {part} patients"
    return Threshold(
        value=lowest_threshold(normal, pe, target),
        rule=rule,
        target=target,
        fitted_on=_named(part),
        n_pe=len(pe),
        n_normal=len(normal),
    )
