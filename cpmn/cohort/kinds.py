"""What each patient can teach: the kinds that a row's scans, masks and label make."""

from collections.abc import Collection, Iterable
from enum import StrEnum

from cpmn.cohort.sheet import Patient
from cpmn.errors import CpmnError


class Kind(StrEnum):
    """What a patient is to a training; every patient is one of these."""

    OUTLINED_PAIR = "outlined pair"
    REPORTED_PAIR = "pair with a report"
    NORMAL_PAIR = "pair without PE"
    OUTLINED_CTPA = "CTPA alone, outlined or without PE"
    REPORTED_CTPA = "CTPA alone with a report"
    NCT_ALONE = "NCT alone"
    OUTLINED_NCT = "outlined NCT"


NEAR_MM = 4.5
"""Ours: so far about an outline of `annotate` its patient counts as free of other clots; three voxels of the study, so
that the outline shows its border."""
TEACHES = {
    Kind.OUTLINED_PAIR: "both pathways, both tasks; its CTPA teaches `annotate`",
    Kind.REPORTED_PAIR: "both pathways, by the label and by what `annotate` outlines, and the NCT's by what the CTPA's "
    "reads, since nobody outlined it",
    Kind.NORMAL_PAIR: "both pathways, both tasks; its CTPA teaches `annotate`",
    Kind.OUTLINED_CTPA: "the CTPA pathway and `annotate`; never scored",
    Kind.REPORTED_CTPA: "the CTPA pathway's classification, by its label alone; never scored",
    Kind.NCT_ALONE: "the NCT pathway: with PE its classification, by the label alone; without PE both tasks",
    Kind.OUTLINED_NCT: "the NCT pathway's segmentation and classification; with a CTPA that pathway too",
}
"""What the trainings take from each kind."""
TEACHES_NCT_PATHWAY = TEACHES | {
    Kind.OUTLINED_PAIR: "the NCT pathway, both tasks; its CTPA teaches `annotate`",
    Kind.REPORTED_PAIR: "the NCT pathway, by the label and by what `annotate` outlines",
    Kind.NORMAL_PAIR: "the NCT pathway, both tasks; its CTPA teaches `annotate`",
    Kind.OUTLINED_CTPA: "`annotate` alone; never scored",
    Kind.REPORTED_CTPA: "nothing, since no variant trains a CTPA pathway; never scored",
    Kind.OUTLINED_NCT: "the NCT pathway's segmentation and classification",
}
"""The same where no variant trains a CTPA pathway."""
WITHOUT_ANNOTATE = {
    True: "both pathways, by the label, and the NCT's by what the CTPA's reads; no CTPA teaches `annotate`",
    False: "the NCT pathway, by the label alone; no CTPA teaches `annotate`",
}
"""What reported pairs teach then, by whether a variant trains a CTPA pathway."""
REFUSED = "refused, since train.unannotated is refuse"


def kind_of(patient: Patient) -> Kind:
    """The kind of a patient. Without PE nothing is to be outlined, so that a mask changes nothing."""
    if patient.nct is None:
        known = patient.ctpa_mask is not None or not patient.label
        return Kind.OUTLINED_CTPA if known else Kind.REPORTED_CTPA
    if patient.nct_mask is not None and patient.label:
        return Kind.OUTLINED_NCT
    if patient.ctpa is None:
        return Kind.NCT_ALONE
    if not patient.label:
        return Kind.NORMAL_PAIR
    return Kind.REPORTED_PAIR if patient.ctpa_mask is None else Kind.OUTLINED_PAIR


def is_reported(patient: Patient) -> bool:
    """Whether a patient has PE of which nobody drew an outline. A mask without its scan is none."""
    outlined = (patient.ctpa and patient.ctpa_mask) or (patient.nct and patient.nct_mask)
    return patient.label == 1 and not outlined


def outlines_ctpa(patient: Patient) -> bool:
    """Whether a patient's CTPA says where clots are and are not."""
    return patient.ctpa is not None and (patient.ctpa_mask is not None or not patient.label)


def teaches_annotate(patients: Iterable[Patient], idle: Collection[str]) -> bool:
    """Whether any of `patients` has an outlined clot for `annotate` to learn from; of the `idle` no network learns."""
    return any(one.label and outlines_ctpa(one) and one.patient_id not in idle for one in patients)


def kind_lines(
    patients: Iterable[Patient], idle: Collection[str] = (), *, refuse: bool = False, ctpa_pathway: bool = True
) -> list[str]:
    """A line for each kind that there is: how many patients, and what they teach.

    idle : patients of whom no network learns.
    refuse : `train.unannotated` refuses those with PE whom nobody outlined.
    ctpa_pathway : a variant trains one.
    """
    patients = list(patients)
    annotates = teaches_annotate(patients, idle)
    lines = []
    for kind in Kind:
        own = [patient for patient in patients if kind_of(patient) is kind]
        apart = sum(patient.patient_id in idle for patient in own)
        more = f" ({apart} of them test, calibrate or take no part)" if apart else ""
        if own:
            lines.append(f"{kind}: {len(own)}{more}, {_lesson(kind, annotates, refuse, ctpa_pathway)}")
    return lines


def _lesson(kind: Kind, annotates: bool, refuse: bool, ctpa_pathway: bool) -> str:
    if refuse and kind in (Kind.REPORTED_PAIR, Kind.REPORTED_CTPA):
        return REFUSED
    if kind is Kind.REPORTED_PAIR and not annotates:
        return f"teaching {WITHOUT_ANNOTATE[ctpa_pathway]}"
    teaches = TEACHES if ctpa_pathway else TEACHES_NCT_PATHWAY
    return f"teaching {teaches[kind]}{f'; with PE {REFUSED}' if refuse and kind is Kind.NCT_ALONE else ''}"


def require_outlines(patients: Iterable[Patient], simulated: bool = False) -> None:
    """Raise CpmnError where PE patients lack outlines and none of `patients` has one that could be learnt from.

    Where emboli are `simulated`, an NCT without PE is enough.
    """
    patients = list(patients)
    without = [patient.patient_id for patient in patients if is_reported(patient)]
    outlined = [patient for patient in patients if patient.label and not is_reported(patient)]
    clean = simulated and any(patient.nct and not patient.label for patient in patients)
    if without and not outlined and not clean:
        raise CpmnError(
            f"cohort.csv: no patient with PE who trains has an outline ({_listed(without)}). Outline a few CTPAs "
            "(ctpa_mask), or join a public set to the sheet: `cpmn import KIND SRC -o DEST`, then `cpmn join`. Or "
            "learn from simulated emboli, which go into patients without PE: train.sampling.simulated_fraction: 0.5."
        )


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
