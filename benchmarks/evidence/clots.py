"""Which clots a run finds, by volume and contrast, beside the reference observer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.clotgroups import clot_groups
from cpmn.scoring import metrics
from cpmn.scoring.agreement import Case
from cpmn.scoring.lesions import Lesions

FALSE_MARKS = 1.0  # per patient without PE, at which clots are counted, as the observer's wrong sites
COLUMNS = ("patient_id", "split", "clot_id", "ml", "contrast_hu", "confidence", "found")

Row = dict[str, Any]


def clot_rows(role: str, case: Case, clots: Sequence[Mapping[str, Any]], limit: float) -> list[Row]:
    """A row per clot of a patient: volume, contrast to blood (signed), confidence of the surest mark that touches it.

    `clots` are those of the patient's `facts.json`. The confidence (expected mL) is empty where no mark touches it; the
    clot is `found` ("1") where it exceeds `limit`.
    """
    facts = {clot["id"]: clot for clot in clots}
    lesions = _lesions(case)
    touched = lesions.overlap > 0
    surest = [lesions.confidence[column].max() if column.any() else None for column in touched.T]
    return [
        {
            "patient_id": case.patient_id,
            "split": role,
            "clot_id": int(clot),
            "ml": facts[clot]["ml"]["nct"],
            "contrast_hu": facts[clot]["nct_hu_over_blood"],
            "confidence": "" if confidence is None else float(confidence),
            "found": str(int(confidence is not None and confidence > limit)),
        }
        for clot, confidence in zip(lesions.clot_ids.tolist(), surest, strict=True)
    ]


def confidence_limit(cases: Sequence[Case]) -> float:
    """Confidence that `FALSE_MARKS` marks per patient without PE exceed; 0 where there are fewer marks."""
    normals = [case for case in cases if not case.label]
    marks = np.sort(np.concatenate([_lesions(case).confidence for case in normals] or [np.zeros(0)]))[::-1]
    allowed = round(FALSE_MARKS * len(normals))
    return float(marks[allowed]) if len(marks) > allowed else 0.0


def clots_found(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By group of clots, the share found, with an interval by patients as clusters; rows of one seed or of several."""
    patients = list(dict.fromkeys(row["patient_id"] for row in rows))
    number = np.array([patients.index(row["patient_id"]) for row in rows], int)
    ml, hu = (np.array([float(row[key]) for row in rows]) for key in ("ml", "contrast_hu"))
    found = np.array([row["found"] == "1" for row in rows], bool)
    figures = {}
    for name, chosen in clot_groups().items():
        mask = chosen(ml, hu)
        counts = [np.bincount(number[which], minlength=len(patients)) for which in (mask & found, mask)]
        figures[name] = metrics.ratio(counts[0].tolist(), counts[1].tolist())
    return figures


def _lesions(case: Case) -> Lesions:
    assert case.lesions is not None, "every patient of the benchmark has exact truth"
    return case.lesions
