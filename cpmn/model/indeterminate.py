"""When not to speak: reasons for which a reading is `indeterminate` and neither "PE" nor "no PE".

Each is a fact of the scan, of the model, or of both, that makes the decision one that was never tested. Tolerances are
our choice.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.dicom.scanners import MANUFACTURER
from cpmn.model.plan import Plan
from cpmn.scoring.decision import Decision
from cpmn.volume.noise import noise_hu

COARSER = 1.25  # times the coarsest voxels of any training patient
LARGER, SMALLER = 1.25, 0.8  # times the largest and smallest crop of any training patient
NOISE = 2.0  # times the noisiest, and the quietest, training patient
KINDS = {
    "contrast": "contrast medium in the vessels",
    "cut": "lungs cut by the scan",
    "phantoms": "a model of phantoms, and no phantom",
    "voxels": "voxels coarser than in training",
    "box": "box of the chest outside of what training saw",
    "noise": "noise outside of what training saw",
    "unmarked": "PE by the score, and nothing marked",
    "marks": "more marks than any patient had",
    "contradiction": "no PE by the score, beside more marks than such patients had",
}
"""What each kind of reason is, for tables; a reason itself has the figures."""
SEPARATOR = "; "  # between kinds in a table
ENOUGH = 20  # patients; of fewer the most marks say little of the next patient's, and twice as many are let pass


def reasons(
    decision: Decision,
    plans: Iterable[Plan],
    facts: Mapping[str, Any],
    crop: sitk.Image,
    cut: Iterable[str],
    marks: int,
    positive: bool | None,
) -> dict[str, str]:
    """Why nothing is decided, by kind (`KINDS`); empty where the decision holds.

    Parameters
    ----------
    facts : of the scan, as `cpmn.dicom.scan.read_scan` gives them and `convert` keeps them.
    crop : the lung box in HU, LPS.
    cut : sides on which the scan cuts the lungs.
    marks : number of marked components.
    positive : whether the score reaches the threshold.
    """
    return (
        _of_the_scan(facts, cut)
        | _of_the_training(decision, facts)
        | _of_the_fingerprint([plan.fingerprint for plan in plans], crop)
        | _of_the_marks(decision, marks, positive)
    )


def _of_the_scan(facts: Mapping[str, Any], cut: Iterable[str]) -> dict[str, str]:
    found, contrast = {}, facts["contrast"]
    if contrast["evidence"] == "present" and contrast["from"] == "image":
        found["contrast"] = "contrast medium is in the vessels"
    if cut:
        found["cut"] = f"the scan cuts the lungs ({', '.join(cut)})"
    return found


def _of_the_training(decision: Decision, facts: Mapping[str, Any]) -> dict[str, str]:
    """A model of phantoms decides on phantoms alone, which say in their headers what they are."""
    trained = decision.trained_on
    scanner = facts.get("scanner") or {}
    if trained is None or trained.kind != "phantom" or scanner.get("manufacturer") == MANUFACTURER:
        return {}
    return {"phantoms": "the model has seen phantoms alone, and nothing shows that this scan is one"}


def _of_the_fingerprint(fingerprints: list[dict[str, Any]], crop: sitk.Image) -> dict[str, str]:
    """What of the scan lies outside of what the networks were trained on; models of earlier versions do not say all."""
    spacing, found = np.array(crop.GetSpacing()), {}
    if (trained := _range(fingerprints, "spacing_range")) and (spacing > COARSER * trained[1]).any():
        limit = _text(trained[1])
        found["voxels"] = f"voxels of {_text(spacing)} mm are coarser than in training (up to {limit} mm)"
    extent = spacing * crop.GetSize()
    trained = _range(fingerprints, "extent_range_mm")
    if trained and ((extent > LARGER * trained[1]).any() or (extent < SMALLER * trained[0]).any()):
        sizes = f"{_text(trained[0])} to {_text(trained[1])} mm"
        found["box"] = f"the chest's box of {_text(extent)} mm is outside of what training saw ({sizes})"
    noise = noise_hu(sitk.GetArrayViewFromImage(crop))
    if (trained := _range(fingerprints, "noise_range_hu")) and noise is not None:
        low, high = float(trained[0]), float(trained[1])
        if not low / NOISE <= noise <= high * NOISE:
            found["noise"] = f"noise of {noise:.0f} HU is outside of what training saw ({low:.0f} to {high:.0f} HU)"
    return found


def _of_the_marks(decision: Decision, marks: int, positive: bool | None) -> dict[str, str]:
    """Marks that no patient had whom the decision was fitted on, or that contradict it."""
    found, known = {}, decision.marks
    if positive and not marks:
        found["unmarked"] = "the score says PE, and nothing is marked"
    if known is None:
        return found
    allowed, most = 1 if known.patients >= ENOUGH else 2, known.most_without_pe
    if marks > allowed * known.most:
        found["marks"] = f"{marks} marks: none of {known.patients} patients had more than {known.most}"
    elif positive is False and most is not None and marks > allowed * most:
        found["contradiction"] = f"the score says no PE beside {marks} marks: no such patient had more than {most}"
    return found


def _range(fingerprints: list[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Least and greatest over the folds; None where a fold does not say."""
    ranges = [one.get(key) for one in fingerprints]
    if not ranges or any(one is None for one in ranges):
        return None
    lows, highs = zip(*ranges, strict=True)
    return np.min(lows, axis=0), np.max(highs, axis=0)


def _text(values: np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
