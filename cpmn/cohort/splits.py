"""Who trains, validates, calibrates the decision and tests: a pure function of the cohort sheet and the configuration.

Groups of patients are ranked by a seeded hash of their name within each class; parts are contiguous stretches of that
ranking. A new patient therefore shifts a part's borders by one place and moves few others. A group is never divided,
and counts as PE if one of its patients has PE.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from cpmn.cohort.sheet import Patient
from cpmn.config.train import TrainConfig
from cpmn.errors import CpmnError

CLASSES = {1: "PE", 0: "normal"}
Groups = dict[str, list[Patient]]


def split_cohort(patients: Sequence[Patient], config: TrainConfig) -> dict[str, Any]:
    """`{seed, method, test: [ids], folds: [{train: [ids], validation: [ids]}]}`; ids are sorted.

    Where rows say `calibration` there is a list of these too: the decision is fitted on them instead of on validation.

    Rows of the sheet that name their part are honoured (one such row fixes its group). Parts without such a row are
    drawn from the rest: `test_fraction` of each class for testing, then `config.folds` folds stratified by class, at
    most as many as there are groups of the smaller class; `folds: 1` is one split by `validation_fraction`. Rows that
    say `train` train in every fold, unless nobody else is left to validate: then they are the rest. Any `validation`
    row gives exactly one fold, and patients left over then train.

    Patients without an NCT are never scored: they train in every fold that holds none of their group. Those whose row
    gives them to another part, or whose group is tested, calibrates or validates in the one fold, are listed under
    `unused`.

    Raises CpmnError, saying what is needed, if nobody has an NCT, if a group's rows disagree, if testing or calibration
    lacks a class, if a class has fewer than 2 patients to train and validate on, or if a fold lacks a class.
    """
    scored = [patient for patient in patients if patient.nct is not None]
    if not scored:
        raise CpmnError("cohort.csv: no patient has an NCT, without which nobody is scored. Fill in the column 'nct'.")
    parts: dict[str, Groups] = defaultdict(dict)
    for name, members in _groups(scored).items():
        parts[_explicit_part(name, members)][name] = members
    free = parts[""]
    needed = _still_needed(parts["train"] | parts["validation"], 2)
    test = parts["test"] or _drawn(free, config.test_fraction, config.seed, "test", needed)
    free = {name: members for name, members in free.items() if name not in test}
    _check_classes(test, parts["train"] | parts["validation"] | free)
    if parts["validation"]:
        folds, method = [parts["validation"]], "validation as given in cohort.csv"
    else:
        drawn, fixed = (free, parts["train"]) if free else (parts["train"], {})
        folds, method = _folds(drawn, fixed, config)
    everyone = parts["train"] | parts["validation"] | free
    _check_folds(everyone, folds)
    calibration = parts["calibration"]
    if calibration and not all(_patient_counts(calibration).values()):
        raise CpmnError(_shortage("calibration", _patient_counts(calibration), 1))
    held_in_all = set.intersection(*map(set, folds))  # of one fold: who validates
    teaching, unused = _with_those_never_scored(everyone, patients, {*test, *calibration, *held_in_all})
    return {
        "seed": config.seed,
        "method": f"test {'as given in cohort.csv' if parts['test'] else 'by ranked hashes'}; {method}",
        "test": _ids(test),
        **({"calibration": _ids(calibration)} if calibration else {}),
        **({"unused": _ids(unused)} if unused else {}),
        "folds": [
            {"train": _ids({n: m for n, m in teaching.items() if n not in held}), "validation": _ids(held)}
            for held in folds
        ],
    }


def _with_those_never_scored(
    everyone: Groups, patients: Iterable[Patient], set_apart: Collection[str]
) -> tuple[Groups, Groups]:
    """`everyone` who trains joined by those without an NCT, and whoever of these may not: see `split_cohort`."""
    alone = _groups(patient for patient in patients if patient.nct is None)
    unused = {
        name: members
        for name, members in alone.items()
        if _explicit_part(name, members) not in ("", "train") or name in set_apart
    }
    joining = {name: members for name, members in alone.items() if name not in unused}
    return everyone | {name: [*everyone.get(name, []), *members] for name, members in joining.items()}, unused


def _groups(patients: Iterable[Patient]) -> Groups:
    groups: Groups = defaultdict(list)
    for patient in patients:
        groups[patient.group].append(patient)
    return dict(groups)


def _explicit_part(name: str, members: list[Patient]) -> str:
    parts = {patient.split for patient in members if patient.split}
    if len(parts) > 1:
        raise CpmnError(f"cohort.csv: group '{name}' stands in {' and '.join(sorted(parts))}. Give it one split.")
    return parts.pop() if parts else ""


def _class(members: list[Patient]) -> int:
    return max(patient.label for patient in members)


def _ranked(groups: Groups, label: int, seed: int, purpose: str) -> list[str]:
    """Names of the groups of a class in the order of their seeded hashes."""
    names = [name for name, members in groups.items() if _class(members) == label]
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).hexdigest())


def _still_needed(fixed: Groups, least: int) -> dict[int, int]:
    """How many groups of each class must still join `fixed` for it to hold `least`."""
    return {label: max(least - count, 0) for label, count in _class_counts(fixed).items()}


def _drawn(groups: Groups, fraction: float, seed: int, purpose: str, reserve: dict[int, int]) -> Groups:
    """`fraction` of the groups of each class (rounded half up, at least 1), leaving `reserve` for other parts."""
    drawn: Groups = {}
    for label in CLASSES:
        names = _ranked(groups, label, seed, purpose)
        count = min(max(int(fraction * len(names) + 0.5), 1), max(len(names) - reserve[label], 0))
        drawn |= {name: groups[name] for name in names[:count]}
    return drawn


def _folds(free: Groups, fixed: Groups, config: TrainConfig) -> tuple[list[Groups], str]:
    """Held-out groups of each fold, from the groups whose part is free; `fixed` ones train in every fold."""
    if config.folds == 1:
        held = _drawn(free, config.validation_fraction, config.seed, "fold", _still_needed(fixed, 1))
        return [held], f"one validation split of {config.validation_fraction:g} by ranked hashes"
    ranked = {label: _ranked(free, label, config.seed, "fold") for label in CLASSES}
    count = min(config.folds, *map(len, ranked.values()))
    if count < (1 if all(_class_counts(fixed).values()) else 2):
        raise CpmnError(_shortage("cross-validation", _class_counts(free), 2))
    stretches = [[name for names in ranked.values() for name in _stretch(names, k, count)] for k in range(count)]
    held = [{name: free[name] for name in stretch} for stretch in stretches]
    return held, f"{count} folds stratified by class, by ranked hashes"


def stretches(patients: Iterable[Patient], count: int, seed: int, purpose: str) -> list[list[str]]:
    """Ids of `patients` in `count` parts, stratified by class by ranked hashes; groups are never divided."""
    groups = _groups(patients)
    ranked = [_ranked(groups, label, seed, purpose) for label in CLASSES]
    parts = [[name for names in ranked for name in _stretch(names, k, count)] for k in range(count)]
    return [_ids({name: groups[name] for name in part}) for part in parts]


def _stretch(names: list[str], part: int, parts: int) -> list[str]:
    return names[len(names) * part // parts : len(names) * (part + 1) // parts]


def _class_counts(groups: Groups) -> dict[int, int]:
    return {label: sum(_class(members) == label for members in groups.values()) for label in CLASSES}


def _patient_counts(groups: Groups) -> dict[int, int]:
    labels = [patient.label for members in groups.values() for patient in members]
    return {label: labels.count(label) for label in CLASSES}


def _check_classes(test: Groups, rest: Groups) -> None:
    """Patients count here, not groups: one group may hold both classes, as all pairs of one chest do."""
    if any(n < 1 for n in _patient_counts(test).values()):
        raise CpmnError(_shortage("testing", _patient_counts(test), 1))
    if any(n < 2 for n in _patient_counts(rest).values()):
        raise CpmnError(_shortage("training and validation", _patient_counts(rest), 2))


def _check_folds(everyone: Groups, folds: list[Groups]) -> None:
    for held in folds:
        training = {name: members for name, members in everyone.items() if name not in held}
        for part, groups in (("training", training), ("validation", held)):
            if not all(_patient_counts(groups).values()):
                raise CpmnError(_shortage(part, _patient_counts(groups), 1))


def _shortage(part: str, counts: dict[int, int], needed: int) -> str:
    have = " and ".join(f"{counts[label]} {name}" for label, name in CLASSES.items())
    return (
        f"cohort.csv: {part} has {have} (patients, or groups where given), but needs at least {needed} of each class. "
        "A cohort needs at least 3 PE and 3 normals: 1 of each for testing, 2 for training and validation. "
        "Add patients, or change the column 'split'."
    )


def _ids(groups: Groups) -> list[str]:
    return sorted(patient.patient_id for members in groups.values() for patient in members)
