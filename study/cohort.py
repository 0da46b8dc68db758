"""Who takes part: patients of phantom cohorts as one cohort sheet, whose column `split` says train, ..., test."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError
from snakemake.utils import update_config

from cpmn.cohort.kinds import is_reported
from cpmn.cohort.phantom import phantom_rows
from cpmn.cohort.sheet import FILE_COLUMNS, Patient
from cpmn.config.phantom import Difficulty, PhantomConfig
from cpmn.config.root import load_config
from cpmn.config.section import Section
from cpmn.config.variants import wrong_keys
from cpmn.errors import CpmnError
from cpmn.files import read_json

TRAINING = ("train", "validation")  # parts with both phases; those to judge have the NCT and its truth alone
PUBLIC = "public"
"""Part with the CTPA and its outlines alone, as public sets are."""
SECTIONS = {
    "register": ("register", "crop"),
    "annotate/crop": ("crop",),
    "annotate": ("annotate", "convert", "crop"),
}
"""Sections of the configuration that a stage reads, where that is not the one of its name."""
RULE = "rule"
"""Who outlined on the CTPA by `study.rule`."""
MASKS = "masks.json"
"""File beside the sheet: which outlines its training patients have."""
Row = dict[str, str]


class Part(Section):
    """The first patients of each class of the phantom cohort with this seed, after `skip` of each class."""

    seed: int = Field(ge=0)
    pe: int = Field(ge=1)
    normal: int = Field(ge=0)
    skip: int = Field(default=0, ge=0)
    phantom: dict[str, Any] = Field(default={}, description="Settings of `phantom` that differ: another scanner.")


class Protocol(Section):
    """Contents of `protocol.yaml`."""

    difficulty: Difficulty
    judged: str = Field(description="The part that takes the split `test`.")
    exact_labels: bool = Field(description="Whether training patients are labelled by the truth and have no CTPA.")
    outlined: int | None = Field(
        default=None,
        ge=0,
        description="Training patients with PE whose CTPA is outlined (count); of all others the label alone is known, "
        "validation patients too. null: all are outlined.",
    )
    draw: int = Field(default=0, ge=0, description="Which of the disjoint draws of outlined patients, the first is 0.")
    public: bool = Field(
        default=False,
        description="Whether the part `public` teaches too, CTPA alone with outlines; `draw` says which of its "
        "disjoint sets of patients.",
    )
    own: Path | None = Field(
        default=None,
        description="Folder of outlines by patient, for pairs that nobody outlined: in place of what `annotate` "
        "outlines and taken like that, by a network that reads the NCT, or by a rule of thumb on the CTPA.",
    )
    batch: int = Field(ge=1, description="Patients that one process makes or preprocesses.")
    parts: dict[Difficulty, dict[str, Part]]
    workflow: dict[str, Any]
    changes: dict[Difficulty, dict[str, Any]]

    @property
    def members(self) -> dict[str, Part]:
        """Parts of this difficulty that take part, by name."""
        return {name: self.parts[self.difficulty][name] for name in self.names}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts that take part."""
        return (*TRAINING, *([PUBLIC] if self.public else []), "calibration", self.judged)


def load_protocol(values: dict[str, Any]) -> Protocol:
    """Check the study's configuration. Raises CpmnError naming each wrong key."""
    try:
        protocol = Protocol.model_validate(values)
    except ValidationError as error:
        raise CpmnError("the study's configuration is not valid:\n" + wrong_keys(error)) from error
    known = protocol.parts.get(protocol.difficulty, {})
    if missing := set(protocol.names) - set(known):
        raise CpmnError(
            f"parts.{protocol.difficulty}: {', '.join(sorted(missing))} is missing; there are {list(known)}."
        )
    return protocol


def stored_protocol() -> Protocol:
    """The study's configuration as `protocol.yaml` holds it."""
    return load_protocol(yaml.safe_load((Path(__file__).parent / "protocol.yaml").read_text()))


def workflow_config(protocol: Protocol) -> dict[str, Any]:
    """The configuration that the project's workflow runs with, but for the cohort."""
    values = deepcopy(protocol.workflow)
    update_config(values, protocol.changes.get(protocol.difficulty, {}))
    return values


def row_for(patient: Patient, stages: Sequence[str]) -> dict[str, Any]:
    """What `stages` may know of a patient: never how the patient is scored, and masks only where they are carried."""
    masks = set() if "propagate" in stages else {"nct_mask"}
    return patient.model_dump(mode="json", exclude={"nct_truth", "split", "group"} | masks)


def settings_of(values: dict[str, Any], stages: Sequence[str], networks: int) -> dict[str, Any]:
    """What of the workflow's configuration `stages` depend on; `networks` of `annotate` there are (its folds)."""
    sections = {"on_bad_patient", *(section for stage in stages for section in SECTIONS.get(stage, (stage,)))}
    found = {key: value for key, value in values.items() if key in sections}
    if "annotate" in stages:
        found["annotate"] = found.get("annotate", {}) | {"folds": networks}
        found["evaluate"] = {key: value for key, value in values.get("evaluate", {}).items() if key == "device"}
    return found


def phantom_config(protocol: Protocol, part: str) -> PhantomConfig:
    """Settings of the phantom cohort that a part's patients are from; `patients` is as many as hold the part."""
    settings = load_config(workflow_config(protocol)).phantom
    member = protocol.members[part]
    size = 2 * (_skipped(protocol, part) + max(member.pe, member.normal))  # a consecutive pair has one of each class
    made = {"seed": member.seed, "difficulty": protocol.difficulty, "patients": size, "reported": ()}
    return settings.changed(member.phantom | made)


def _skipped(protocol: Protocol, part: str) -> int:
    """Patients of each class before those of a part."""
    member = protocol.members[part]
    return member.skip + (protocol.draw * max(member.pe, member.normal) if part == PUBLIC else 0)


def sheet_rows(protocol: Protocol) -> list[Row]:
    """Rows of the study's `cohort.csv`; paths are relative to it. A pure function of the protocol.

    Patients are named by part and number in their phantom cohort: `test-017` is `phantom-017` of the part's seed.
    """
    return [row for part in protocol.members for row in _part_rows(protocol, part)]


def _part_rows(protocol: Protocol, part: str) -> list[Row]:
    member, paired = protocol.members[part], part in (*TRAINING, PUBLIC) and not protocol.exact_labels
    made = phantom_rows(phantom_config(protocol, part), truth_only=not paired)
    chosen, skip = [], _skipped(protocol, part)
    for label, count in (("1", member.pe), ("0", member.normal)):
        chosen += [row for row in made if row["label"] == label][skip : skip + count]
    split = {protocol.judged: "test", PUBLIC: "train"}.get(part, part)
    rows = [_placed(row, part) | {"split": split} for row in made if row in chosen]
    if part == PUBLIC:
        return [row | {"nct": "", "nct_truth": ""} for row in rows]
    if protocol.outlined is not None:
        rows = _few_outlined(rows, part, protocol.outlined, protocol.draw)
    return rows


def own_outlines(protocol: Protocol, patients: Sequence[Patient]) -> dict[str, str]:
    """Outlines in the folder `own` of pairs that nobody outlined, by patient; none without such a folder.

    Raises CpmnError unless it was made for this run.
    """
    if protocol.own is None:
        return {}
    _require_masks_of(protocol, protocol.own)
    reported = [p.patient_id for p in patients if p.ctpa and p.nct and is_reported(p)]
    masks = {name: protocol.own / f"{name}.nii.gz" for name in reported}
    return {name: str(mask) for name, mask in masks.items() if mask.exists()}


def _require_masks_of(protocol: Protocol, folder: Path) -> None:
    """Raise CpmnError unless `folder` holds what `study own` or `rule` wrote of a run with the same outlined."""
    record = folder / MASKS
    if not folder.is_absolute() or not record.is_file():  # Snakemake has changed into its --directory
        raise CpmnError(f"own: {folder} is not the whole path of a folder that `python -m study own` or `rule` wrote.")
    made, wanted = read_json(record), {"outlined": protocol.outlined, "draw": protocol.draw}
    if any(made[key] != value for key, value in wanted.items()):
        raise CpmnError(f"own: {folder} was made for {made}, and this run is {wanted}.")


def _few_outlined(rows: list[Row], part: str, count: int, draw: int) -> list[Row]:
    """The rows, with the masks of `count` training patients alone. Raises CpmnError where there are not so many."""
    with_pe = [row["patient_id"] for row in rows if row["label"] == "1"]
    kept = with_pe[draw * count : (draw + 1) * count] if part == "train" else []
    if part == "train" and len(kept) < count:
        raise CpmnError(f"draw {draw} of {count} outlined patients: {len(with_pe)} training patients have PE.")
    return [row if row["patient_id"] in kept else row | {"ctpa_mask": ""} for row in rows]


def _placed(row: Row, part: str) -> Row:
    """A phantom's row with its files in `data/PART`. Without a CTPA to carry a label from, the truth is the label."""
    files = {name: f"data/{part}/{row[name]}" for name in FILE_COLUMNS if row.get(name)}
    label = {"nct_mask": "" if row["ctpa"] else files["nct_truth"]}
    return row | files | label | {"patient_id": row["patient_id"].replace("phantom", part)}


def masks_of(protocol: Protocol) -> dict[str, Any]:
    """What a run is named by: outlined patients with PE (null: all), their draw, who outlined the others, and where."""
    own = protocol.own
    by = {"own": read_json(own / MASKS)["by"], "folder": str(own)} if own else {"own": None}
    return {"outlined": protocol.outlined, "draw": protocol.draw} | by


def phantom_name(patient: str) -> str:
    """Name of a patient of the study in its phantom cohort."""
    return f"phantom-{patient.rpartition('-')[2]}"


def part_of(patient: str) -> str:
    """Part that a patient of the study belongs to."""
    return patient.rpartition("-")[0]


def files_of(patients: Sequence[Patient], columns: Sequence[str] = FILE_COLUMNS) -> list[str]:
    """What the phantom writes of patients, as their rows name it in `columns`."""
    named = [getattr(patient, column) for patient in patients for column in columns]
    return list(dict.fromkeys(str(path) for path in named if path))


def batches(patients: Sequence[Patient], size: int) -> dict[str, list[Patient]]:
    """Patients by the name of their batch; those of a batch are of one part, and a larger part only adds batches."""
    found: dict[str, list[Patient]] = {}
    for part, group in groupby(patients, key=lambda patient: part_of(patient.patient_id)):
        members = list(group)
        found |= {f"{part}_{n // size}": members[n : n + size] for n in range(0, len(members), size)}
    return found
