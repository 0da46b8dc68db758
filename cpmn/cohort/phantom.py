"""Who is in the phantom cohort. Standard library only: the workflow reads it before any stage has run."""

import hashlib
import re

from cpmn.config.phantom import PhantomConfig
from cpmn.errors import CpmnError

COLUMNS = ("patient_id", "ctpa", "nct", "ctpa_mask", "label", "nct_truth")
PATIENT_ID = re.compile(r"phantom-(\d*[1-9]\d*)")


def phantom_rows(config: PhantomConfig, truth_only: bool = False) -> list[dict[str, str]]:
    """Rows of the phantom's `cohort.csv`; paths are relative to it. A pure function of the configuration.

    `truth_only` rows have the NCT as an image file and no CTPA.
    """
    row = _truth_row if truth_only else paired_row
    rows = [row(patient_id(index), phantom_label(config.seed, index)) for index in range(config.patients)]
    for one in rows:
        one["ctpa_mask"] = "" if one["patient_id"] in config.reported else one["ctpa_mask"]
    return [one | {"vessels": f"{one['patient_id']}/vessels.nii.gz"} for one in rows] if config.vessels else rows


def paired_row(name: str, label: int) -> dict[str, str]:
    """Row of the patient `name` with both phases; paths are relative to the sheet."""
    mask = f"{name}/ctpa_mask.nii.gz" if label else ""
    values = (name, f"{name}/ctpa", f"{name}/nct", mask, str(label), f"{name}/nct_truth.nii.gz")
    return dict(zip(COLUMNS, values, strict=True))


def patient_id(index: int) -> str:
    """Identifier of the patient at `index` (from 0)."""
    return f"phantom-{index + 1:03d}"


def patient_index(patient: str) -> int:
    """Index (from 0) of a patient, whatever the size of the cohort. Raises CpmnError for another kind of name."""
    match = PATIENT_ID.fullmatch(patient)
    if match is None or patient_id(int(match[1]) - 1) != patient:
        raise CpmnError(f"'{patient}' is not a phantom patient. They are named phantom-001, phantom-002, ...")
    return int(match[1]) - 1


def phantom_label(seed: int, index: int) -> int:
    """1 = PE, 0 = none: a seeded coin gives each consecutive pair of patients one PE.

    Our choice: the label of a patient depends on neither the size of the cohort nor on a pattern of the ids, and the
    two classes differ in size by at most one.
    """
    coin = hashlib.sha256(f"{seed}/label/{index // 2}".encode()).digest()[0] & 1
    return (index + coin) % 2


def _truth_row(name: str, label: int) -> dict[str, str]:
    values = (name, "", f"{name}/nct.nii.gz", "", str(label), f"{name}/nct_truth.nii.gz")
    return dict(zip(COLUMNS, values, strict=True))
