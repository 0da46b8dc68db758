"""Row against row: the same scan or the same person under two patient ids."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from cpmn.checks.finding import Finding, doubtful, failed, passed
from cpmn.cohort.sheet import Patient
from cpmn.files import read_json

GENERIC = 3
"""Ours: a patient number that stands in more groups than this is a placeholder."""
PHASES = ("nct", "ctpa")


def read_records(convert: Path, patients: Iterable[Patient]) -> dict[str, dict[str, Any]]:
    """JSON of each patient's converted scans by phase; those of excluded patients are empty files and left out.

    What a row named before may lie there still: it is read no more.
    """
    paths = {
        (p.patient_id, phase): convert / p.patient_id / f"{phase}.json"
        for p in patients
        for phase in PHASES
        if getattr(p, phase)
    }
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for (name, phase), path in paths.items():
        if path.is_file() and path.stat().st_size:
            found[name][phase] = read_json(path)
    return dict(found)


def check_cohort(patients: Collection[Patient], records: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Findings of a cohort: voxels that stand in the rows of two patients, and people under two ids.

    `records` are those of `read_records`. Rows that overrule a check by name take no part in it.
    """
    return [*_shared_scans(patients, records), *_shared_people(patients, records)]


def _shared_scans(patients: Collection[Patient], records: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """The same voxels, copied, linked or encoded anew: one row may train and the other test."""
    owners: dict[str, dict[str, None]] = defaultdict(dict)
    for patient in _asked(patients, "shared_scan"):
        for record in records.get(patient.patient_id, {}).values():
            owners[record["pixels_sha256"]][patient.patient_id] = None
    shared = [list(names) for names in owners.values() if len(names) > 1]
    remedy = "Give each patient's own scans, or take out the rows that repeat one."
    return [failed("shared_scan", f"{' and '.join(names)} hold the same voxels", remedy) for names in shared] or [
        passed("shared_scan")
    ]


def _shared_people(patients: Collection[Patient], records: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """One patient number in the rows of several groups, which training and testing may divide."""
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for patient in _asked(patients, "shared_patient"):
        for record in records.get(patient.patient_id, {}).values():
            if key := record["identity"]["patient"]:
                rows[key][patient.patient_id] = patient.group
    divided = [members for members in rows.values() if len(set(members.values())) > 1]
    return [_one_person(members) for members in divided] or [passed("shared_patient")]


def _one_person(groups: Mapping[str, str]) -> Finding:
    """The finding of rows, by patient with their groups, that have one patient number."""
    names = list(groups)
    if len(set(groups.values())) > GENERIC:
        seen = f"{len(names)} patients have one patient number ({', '.join(names[:GENERIC])}, ...)"
        return doubtful("shared_patient", seen, "Is it a placeholder? Else give them one group.")
    who = " and ".join(names)
    seen = f"{who} are one person by their patient number, and may be divided between training and testing"
    return failed("shared_patient", seen, "Give them one group in the column 'group'.")


def _asked(patients: Iterable[Patient], check: str) -> list[Patient]:
    return [patient for patient in patients if check not in patient.overrule]
