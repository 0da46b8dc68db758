"""What a reader must know before believing a figure, as far as the run itself can tell."""

from dataclasses import dataclass
from typing import Any

from cpmn.config.root import Config
from cpmn.report.collect import Results
from cpmn.report.tables import reference_kinds

FEW_OF_A_CLASS = 30
"""Test patients of one class below which the page calls the test set too small (our choice: at 30, a perfect
sensitivity still has a lower 95 % Wilson limit of only 0.89)."""


@dataclass(frozen=True)
class Limit:
    """One limit: a few words, and a paragraph."""

    name: str
    text: str


def limits(results: Results, config: Config, flags: dict[str, Any]) -> list[Limit]:
    """Limits of this run, the gravest first."""
    found = [_simulated_disease()] if flags.get("simulated") == "disease" else []
    if flags.get("synthetic") and not found:
        found.append(_synthetic(results, flags))
    found += [_size(results), _spectrum(flags), _reference(results)]
    if results.excluded:
        found.append(_exclusions(results))
    return [*found, _registration(config), _threshold(results), *_groups(results), _paper(), _use()]


def _synthetic(results: Results, flags: dict[str, Any]) -> Limit:
    difficulty = f" Its difficulty is “{flags['difficulty']}”." if flags.get("difficulty") else ""
    contrast = (
        " There every clot is 15 to 35 HU brighter than blood on the non-contrast CT, which most real clots are not:"
        " success here is a floor, not an achievement."
        if flags.get("difficulty") == "learnable"
        else ""
    )
    text = (
        "Every scan is computed from a geometric phantom. Anatomy, noise and clots are far simpler than a patient's, "
        f"and training and test patients come from the same generator.{difficulty}{contrast} The run shows that every "
        "step works together; it says nothing about patients."
    )
    return Limit("Synthetic data", text)


def _simulated_disease() -> Limit:
    text = (
        "The chests are those of real patients, but contrast medium, emboli and the motion between the phases are "
        "computed. Several pairs share one chest, so that patients are far fewer than pairs and intervals are too "
        "narrow; where there are two chests, training and validation share one. Arteries were told from veins by the "
        "bronchi beside them, a guess in small vessels, and the central arteries' place is assumed; no clot changes "
        "the vessel or the heart as a real one does. The run says how the method copes with real anatomy and noise; "
        "it says nothing about real emboli."
    )
    return Limit("Real anatomy, simulated disease", text)


def _size(results: Results) -> Limit:
    positives = sum(patient.label for patient in results.test)
    negatives = len(results.test) - positives
    text = f"The test set has {positives} patients with PE and {negatives} without."
    if min(positives, negatives) < FEW_OF_A_CLASS:
        text += (
            " That is too few to tell a good model from a poor one, or one variant from another: read the intervals."
        )
    return Limit("Number of patients", text)


def _spectrum(flags: dict[str, Any]) -> Limit:
    text = (
        "Figures hold for the mix of patients that was tested. Where patients without PE are healthy rather than "
        "suspected of PE, as in the published CPMN cohort, specificity and AUC are likely to be too high (spectrum "
        "bias). Predictive values hold at the cohort's own prevalence only. All patients come from one cohort: this "
        "is internal testing."
    )
    if flags.get("simulated") == "disease":
        text += " Patients with and without PE come from the same few chests."
    elif flags.get("synthetic"):
        text += (
            " The phantom draws a few other findings (effusion, atelectasis, nodules, lymph nodes, calcium, thickened "
            "bronchi) in patients with and without PE alike, and no other disease."
        )
    return Limit("Spectrum", text)


def _reference(results: Results) -> Limit:
    kinds = reference_kinds(results)
    listed = "; ".join(f"{kind}: {count}" for kind, count in kinds.items()) or "not stated"
    text = (
        f"Reference standard of the test patients: {listed}. A label propagated from the CTPA carries the error of the "
        "registration, so a clot can lie beside its vessel, and voxel and lesion figures then measure agreement with "
        "the label, not with the clot."
    )
    return Limit("Reference standard", text)


def _exclusions(results: Results) -> Limit:
    share = len(results.excluded) / max(len(results.patients), 1)
    text = (
        f"{len(results.excluded)} of {len(results.patients)} patients ({share:.0%}) could not be processed and are in "
        "no figure. If they differ from the others, the figures are biased."
    )
    return Limit("Excluded patients", text)


def _registration(config: Config) -> Limit:
    settings = config.register_
    text = (
        f"Quality control looks at the lungs (Dice of at least {settings.minimum_lung_dice}), their inside as a "
        "whole and folding, not at every vessel: a small one can be misplaced in a registration that passes."
    )
    return Limit("Registration", text)


def _threshold(results: Results) -> Limit:
    part = "calibration" if results.splits.get("calibration") else "validation"
    text = (
        f"The decision threshold is fitted on {part} patients. With few of them it is uncertain, and the intervals "
        "of sensitivity and specificity do not include that uncertainty, nor that of training again."
    )
    if part == "validation" and len(results.splits.get("folds", [])) > 1:
        text += (
            " Each of them was read by the one fold that held it out, and others are read by all: the mean of several "
            "folds varies less, so that more are cleared and fewer found than at the operating point asked for, and "
            "probabilities lie too near the middle (calibration slope above 1). Patients named calibration in the "
            "cohort sheet avoid it."
        )
    return Limit("Threshold and training", text)


def _groups(results: Results) -> list[Limit]:
    groups = {patient.group for patient in results.test}
    if len(groups) == len(results.test):
        return []
    text = (
        f"The {len(results.test)} test patients stand in {len(groups)} groups. Intervals and p values take them for "
        "independent, which those of one group are not: they are too narrow and too small."
    )
    return [Limit("Groups", text)]


def _paper() -> Limit:
    text = (
        "This is an independent implementation of the method of Bai et al. (MICCAI 2024, arXiv 2407.11529). The paper "
        "is open access, but only its abstract was at hand. Registration, crop, network, patch size, formulas and "
        "weights of the loss terms, schedule and decision rule are therefore our choice. These figures neither "
        "reproduce nor refute the published ones."
    )
    return Limit("What is the paper's and what is ours", text)


def _use() -> Limit:
    text = "Class-activation maps show where the network looked, not why, and are no proof of an embolus."
    return Limit("Interpretation", text)
