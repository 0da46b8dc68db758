"""Whether a cohort can be trained on, and what it teaches, before any of its scans is read."""

from collections.abc import Collection, Sequence
from typing import Any

from cpmn.cohort.kinds import kind_lines, require_outlines
from cpmn.cohort.roles import teaching_nobody
from cpmn.cohort.sheet import Patient
from cpmn.cohort.splits import split_cohort
from cpmn.config.root import Config
from cpmn.config.variants import resolve_variant
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


def lessons(patients: Sequence[Patient], config: Config, idle: Collection[str]) -> list[str]:
    """How many patients of each kind there are, and what they teach the run's variants (`kind_lines`).

    idle : patients of whom no network learns.

    Raises CpmnError for a variant that is none.
    """
    trained = [resolve_variant(config.train, name, config.variants) for name in config.train.variants]
    return kind_lines(
        patients,
        idle,
        refuse=config.train.unannotated == "refuse",
        ctpa_pathway=any(one.trains_ctpa_pathway for one in trained),
    )
