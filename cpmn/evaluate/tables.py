"""The CSV files of the stage."""

from collections.abc import Iterable
from typing import Any

from cpmn.cohort.roles import Role
from cpmn.job.redact import without_paths
from cpmn.model.indeterminate import SEPARATOR
from cpmn.scoring.agreement import Agreement, Score
from cpmn.scoring.lesions import overlap_match

PATIENT_COLUMNS = (
    "patient_id",
    "split",
    "fold",
    "label",
    "score",
    "threshold",
    "decision",
    "dice",
    "reference_ml",
    "predicted_ml",
    "lesions",
    "lesions_found",
    "false_positives",
    "reference",
    "indeterminate",
    "excluded_reason",
)
RATIO_COLUMN = "artery_vein_ratio"
"""Last column of `patients.csv` where the cohort has vessel masks."""
COMPARISON_COLUMNS = (
    "variant",
    "base",
    "seed",
    "cohort",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "versus",
    "difference",
    "difference_low",
    "difference_high",
    "p",
)
ROC_COLUMNS = ("fpr", "tpr", "threshold")


def patient_row(
    role: Role,
    agreement: Agreement | None,
    score: Score | None,
    threshold: float | None,
    indeterminate: Iterable[str] = (),
) -> dict[str, Any]:
    """One row of `patients.csv`; what is not known is empty.

    `indeterminate` are kinds of reasons (`cpmn.model.indeterminate.KINDS`) for which `cpmn predict` would not decide.
    Lesions by overlap: a clot is found when a component shares a voxel with it, a component that shares none is a
    false positive.
    """
    row: dict[str, Any] = {
        "patient_id": role.patient.patient_id,
        "split": role.split,
        "fold": role.fold,
        "label": role.patient.label,
        "excluded_reason": without_paths(role.excluded_reason, role.patient),
    }
    if agreement is None or score is None:
        return row
    row |= {"score": score.value, "threshold": threshold, "predicted_ml": agreement.predicted_ml}
    row["indeterminate"] = SEPARATOR.join(indeterminate)
    row[RATIO_COLUMN] = agreement.artery_vein_ratio
    row["decision"] = None if score.positive is None else int(score.positive)
    if agreement.lesions is not None:
        found, false = overlap_match(agreement.lesions)
        row |= {"dice": agreement.dice, "reference_ml": agreement.reference_ml, "reference": agreement.reference}
        row |= {"lesions": len(found), "lesions_found": int(found.sum()), "false_positives": int(false.sum())}
    return row
