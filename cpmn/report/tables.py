"""Rows of the report's tables; those of metrics are in `estimates`."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pandas as pd

from cpmn.cohort.kinds import outlines_ctpa
from cpmn.cohort.roles import set_apart, without_clot
from cpmn.cohort.sheet import Patient
from cpmn.model.indeterminate import KINDS, SEPARATOR
from cpmn.report.collect import REFERENCE_TEXT, Exclusion, Results, labels, number, read_optional
from cpmn.report.record import training_seconds

TRAINING: tuple[str, ...] = ("train", "development")
"""Parts that networks are trained on."""
LABEL_TEXT = {1: "PE", 0: "no PE"}
THICKNESS_EDGES_MM = (1.5, 3.0, 5.0)  # our choice: thin, standard and thick reconstructions


@dataclass(frozen=True)
class Count:
    """Patients of one part of the study, by label; `kept_out` are those of them whom no network was trained on."""

    name: str
    total: int
    pe: int
    normal: int
    kept_out: "Count | None" = None


@dataclass(frozen=True)
class Flow:
    """TRIPOD-like flow: everyone, who left and why, where the rest went.

    `kept_out` taught no network. `unwatched` are validation patients that trainings did not look at: `evaluate` reads
    them all the same, and may fit the threshold on them.
    """

    everyone: Count
    excluded: list[Exclusion]
    analysed: Count
    kept_out: list[Exclusion]
    unwatched: list[Exclusion]
    parts: list[Count]
    folds: int


@dataclass(frozen=True)
class Confusion:
    """Decisions of one variant on the test patients; `undecided` had no score."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int
    undecided: int


def patient_flow(results: Results) -> Flow:
    """Counts from the cohort to the parts of the split."""
    kept = [patient for patient in results.patients if patient.patient_id not in results.excluded]
    part_of = split_names(results)
    members = {part: [p for p in kept if part_of.get(p.patient_id) == part] for part in dict.fromkeys(part_of.values())}
    failed = _failed_registrations(results)
    kept_out = dict.fromkeys(TRAINING, failed | _without_clot(results))
    return Flow(
        everyone=_count("Cohort", results.patients),
        excluded=list(results.excluded.values()),
        analysed=_count("Analysed", kept),
        kept_out=_of(members, kept_out),
        unwatched=_of(members, {"validation": failed}),
        parts=[_part(part, own, kept_out.get(part, {})) for part, own in members.items()],
        folds=len(results.splits.get("folds", [])),
    )


def _failed_registrations(results: Results) -> dict[str, Exclusion]:
    """Patients whose registration did not pass: `train` takes none of them."""
    failed = {name: quality for name, quality in results.quality.items() if quality.get("passed") is False}
    reasons = {name: str(quality.get("reason") or "quality control") for name, quality in failed.items()}
    return {name: Exclusion(name, "register", f"registration failed: {reason}") for name, reason in reasons.items()}


def _without_clot(results: Results) -> dict[str, Exclusion]:
    names = without_clot(results.patients, results.crops)
    return {name: Exclusion(name, "crop", "all of its clots lie outside of the crop") for name in names}


def _of(members: Mapping[str, list[Patient]], reasons: Mapping[str, Mapping[str, Exclusion]]) -> list[Exclusion]:
    """The `reasons`, by part and patient, of those who belong to the part."""
    return [
        found[patient.patient_id]
        for part, found in reasons.items()
        for patient in members.get(part, [])
        if patient.patient_id in found
    ]


def _part(name: str, patients: list[Patient], kept_out: Collection[str]) -> Count:
    """Counts of a part, and of those in it who taught nothing."""
    untaught = [patient for patient in patients if patient.patient_id in kept_out]
    return replace(_count(name, patients), kept_out=_count("kept out", untaught) if untaught else None)


def split_names(results: Results) -> dict[str, str]:
    """Part of each patient, as `splits.json` names it; with several folds train and validation are `development`."""
    folds = results.splits.get("folds", [])
    names = {}
    for part in ("train", "validation"):
        for fold in folds:
            names |= dict.fromkeys(fold.get(part, []), part if len(folds) == 1 else "development")
    return names | set_apart(results.splits) | dict.fromkeys(results.splits.get("unused", []), "unused")


def cohort_rows(results: Results) -> list[dict[str, str]]:
    """One row per patient: label, split, who outlined the clots, and how each phase was scanned."""
    parts, owners = split_names(results), _owners(results)
    return [
        {
            "patient": patient.patient_id,
            "label": LABEL_TEXT[patient.label],
            "part": "excluded" if patient.patient_id in results.excluded else parts.get(patient.patient_id, "–"),
            "ctpa_given": "yes" if patient.ctpa else "no",
            "clots_by": _clots_by(results, patient),
        }
        | {
            f"{phase}_{key}": text
            for phase in ("nct", "ctpa")
            for key, text in _scan(results.conversion[patient.patient_id][phase], owners).items()
        }
        for patient in results.patients
    ]


def _clots_by(results: Results, patient: Patient) -> str:
    """Who says where the clots of a patient with PE are, as `propagate` found it."""
    if not patient.label:
        return "–"
    source = "ctpa_mask" if outlines_ctpa(patient) else "label"
    if patient.nct:
        status = read_optional(results.root / "propagate" / patient.patient_id / "status.json")
        source = status.get("source", "–")
    return "the label alone" if source == "label" else source


def thickness_rows(results: Results) -> list[dict[str, Any]]:
    """Number of scans per phase and slice spacing (mm), in bins of `THICKNESS_EDGES_MM`."""
    scans = pd.DataFrame(
        [
            (phase, spacing[2])
            for phases in results.conversion.values()
            for phase, record in phases.items()
            if (spacing := _spacing(record))
        ],
        columns=pd.Index(["phase", "mm"]),
    )
    bins = pd.cut(scans["mm"].astype(float), [-math.inf, *THICKNESS_EDGES_MM, math.inf], labels=_bins())
    counts = pd.crosstab(bins, scans["phase"], dropna=False).reindex(index=_bins(), columns=["nct", "ctpa"])
    return counts.fillna(0).astype(int).rename_axis("bin").reset_index().to_dict("records")


def registration_rows(results: Results) -> list[dict[str, Any]]:
    """One row per registered patient, those that failed quality control first, then by lung Dice."""
    measured = ("lung_dice", "jacobian_min", "folding_fraction", "seconds")
    rows = [
        {"patient": name}
        | {key: number(quality.get(key)) for key in measured}
        | {
            "threads": quality.get("threads"),
            "passed": quality.get("passed") is not False,
            "reason": str(quality.get("reason") or ""),
        }
        for name, quality in results.quality.items()
        if name not in results.excluded
    ]
    return sorted(rows, key=lambda row: (row["passed"], row["lung_dice"] if row["lung_dice"] is not None else -1))


def training_rows(results: Results) -> list[dict[str, Any]]:
    """One row per trained fold: steps, seconds, spacing (x, y, z in mm), patch, weights (count)."""
    return [
        {"variant": name, "fold": fold, "steps": curve["step"].iloc[-1], "seconds": training_seconds(curve)}
        | {key: results.plans[name].get(fold, {}).get(key) for key in ("spacing", "patch_size", "parameters")}
        for name, folds in results.history.items()
        for fold, curve in folds.items()
    ]


def decision(row: Mapping[str, Any]) -> bool | None:
    """Decision of a row of patients.csv: PE or not, None if there is none."""
    return {1: True, 0: False}.get(row.get("decision"))  # type: ignore[arg-type]


def confusion(scored: pd.DataFrame, test: Sequence[Patient]) -> Confusion:
    """Counts of decisions against labels over the test patients."""
    label = labels(test)
    said = scored["decision"].reindex(label.index)

    def count(truth: int, decided: int) -> int:
        return int(((label == truth) & (said == decided)).sum())

    return Confusion(count(1, 1), count(1, 0), count(0, 1), count(0, 0), int((~said.isin([0, 1])).sum()))


def indeterminate_rows(results: Results) -> list[dict[str, Any]]:
    """Per variant, in words: test patients on whom `cpmn predict` would not decide, by label and by kind of reason.

    A patient may have several reasons. Variants that were evaluated before this was recorded are left out.
    """
    label = labels(results.test)
    rows = []
    for variant, scored in results.scored.items():
        if "indeterminate" not in scored:
            continue
        kinds = scored.loc[scored.index.isin(label.index), "indeterminate"].fillna("").astype(str)
        counts = kinds[kinds != ""].str.split(SEPARATOR).explode().value_counts()
        shares = [f"{(own != '').sum()} of {len(own)}" for of in (1, 0) for own in [kinds[label[kinds.index] == of]]]
        reasons = "; ".join(f"{KINDS[kind]}: {counts[kind]}" for kind in KINDS if kind in counts)
        rows.append({"variant": variant, "pe": shares[0], "normal": shares[1], "reasons": reasons or "none"})
    return rows


def lesion_rows(results: Results) -> list[dict[str, Any]]:
    """Per variant over test patients: lesions, those found, and marks that hit none."""
    names = labels(results.test).index
    columns = ["lesions", "lesions_found", "false_positives"]
    rows = []
    for variant, scored in results.scored.items():
        own = scored.loc[scored.index.isin(names), columns].dropna()  # of those alone who were scored
        sums = own.sum().astype(int)
        rows.append({"variant": variant, "scans": len(own), **sums.to_dict()})
    return rows


def reference_kinds(results: Results) -> dict[str, int]:
    """How many test patients were scored against which kind of reference."""
    names = labels(results.test).index
    scored = [table["reference"].dropna() for table in results.scored.values()]
    kinds = pd.concat(scored) if scored else pd.Series(dtype=str)
    texts = kinds.groupby(level=0).first().reindex(names).map(lambda kind: REFERENCE_TEXT.get(kind, kind), "ignore")
    decided = {name for table in results.scored.values() for name in table.index[table["score"].notna()]}
    absent = {name: "none: the patient's label alone" if name in decided else "not stated" for name in names}
    return texts.fillna(pd.Series(absent)).value_counts(sort=False).to_dict()


def _count(name: str, patients: list[Patient]) -> Count:
    positives = sum(patient.label for patient in patients)
    return Count(name, len(patients), positives, len(patients) - positives)


def _owners(results: Results) -> dict[str, list[str]]:
    """Patients by the hash of their scans' files: one scan of several patients may train and test, or be PE and not."""
    scans = pd.DataFrame(
        [
            (record["source_sha256"], name)
            for name, phases in results.conversion.items()
            for record in phases.values()
            if record.get("source_sha256")
        ],
        columns=pd.Index(["sha256", "patient"]),
    )
    return scans.drop_duplicates().groupby("sha256")["patient"].agg(list).to_dict()


def _scan(record: dict[str, Any], owners: dict[str, list[str]]) -> dict[str, str]:
    spacing = _spacing(record)
    shared = owners.get(record.get("source_sha256") or "", [])
    same = [f"the same files are the scan of {', '.join(shared)}"] if len(shared) > 1 else []
    return {
        "spacing": " × ".join(f"{value:.3g}" for value in spacing) if spacing else "–",
        "scanner": " ".join(filter(None, (record.get("scanner") or {}).values())) or "–",
        "kernel": record.get("kernel") or "–",
        "contrast": (record.get("contrast") or {}).get("evidence") or "–",
        "remarks": "; ".join([*same, *(record.get("warnings") or []), *(record.get("repaired") or [])]),
    }


def _spacing(record: dict[str, Any]) -> list[float] | None:
    values = record.get("spacing_mm")
    if not isinstance(values, list) or len(values) != 3:
        return None
    numbers = [value for value in map(number, values) if value is not None]
    return numbers if len(numbers) == 3 else None


def _bins() -> list[str]:
    edges = [f"{edge:g}" for edge in THICKNESS_EDGES_MM]
    between = [f"> {low} to {high} mm" for low, high in pairwise(edges)]
    return [f"≤ {edges[0]} mm", *between, f"> {edges[-1]} mm"]
