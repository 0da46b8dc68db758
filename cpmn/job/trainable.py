"""Whether a cohort can be trained on, before any of its scans is read."""

from collections.abc import Sequence
from typing import Any

from cpmn.cohort.kinds import require_outlines
from cpmn.cohort.roles import teaching_nobody
from cpmn.cohort.sheet import Patient
from cpmn.cohort.splits import split_cohort
from cpmn.config.root import Config
from cpmn.job.status import require_patients


def trainable_splits(patients: Sequence[Patient], config: Config) -> dict[str, Any]:
    """Who is in which part (`split_cohort`).

    Raises CpmnError where nobody who trains says where clots are, where a part lacks a class, or where a fold has fewer
    than `min_patients`.
    """
    simulated = config.train.sampling.simulated_fraction > 0
    require_outlines(patients, simulated)
    found = split_cohort(patients, config.train)
    idle = teaching_nobody(found)
    require_outlines([patient for patient in patients if patient.patient_id not in idle], simulated)
    for fold in found["folds"]:
        require_patients([*fold["train"], *fold["validation"]], {}, config.min_patients)
    return found
