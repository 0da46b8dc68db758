"""`prediction.json` and `error.json`: what a reading says, or why there is none. Their JSON Schemas lie in the docs."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cpmn.scoring.decision import Change, Threshold, TrainedOn

SCHEMA_VERSION = 1
"""Raised where a field changes its meaning or goes; new fields leave it."""

Millimetres = Field(description="In patient coordinates (LPS: x to the left, y to the back, z to the head), mm.")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Lesion(_Part):
    """One connected mark; `number` is its segment's in prediction.dcm too. They are listed by volume."""

    number: int = Field(ge=1)
    volume_ml: float = Field(description="mL.")
    confidence: float = Field(ge=0, le=1, description="Mean probability of its voxels.")
    mean_hu: float = Field(description="Mean of its voxels, HU.")
    contrast_hu: float | None = Field(
        description="Mean above the patient's own blood in the great vessels, HU; null where these are not found."
    )
    longest_mm: float = Field(description="Longest distance between corners of its voxels, mm.")
    side: Literal["right", "left", "both"] = Field(
        description="The patient's side of the middle of the body; both: a quarter or more of it lies on either."
    )
    region: Literal["upper third", "middle third", "lower third", "central", "outside"] = Field(
        description="Where most of it lies: a third of the lung's height (no lobe: fissures are not looked for); "
        "central: between the lungs, in mediastinum or hilum; outside: in neither."
    )
    centroid_mm: tuple[float, float, float] = Millimetres
    slice: int = Field(ge=1, description="Slice of its largest area in the NIfTI files, counted from 1 at the feet.")
    instance_number: int | None = Field(description="InstanceNumber of the nearest slice of the scan.")
    sop_instance_uid: str | None = Field(description="SOPInstanceUID of that slice; null for an image file.")
    frame: int | None = Field(description="Frame, from 1, in a multi-frame file.")


class Probability(_Part):
    """Probability of PE at the prevalence of the patients that the decision was fitted on."""

    value: float | None = Field(ge=0, le=1)
    low: float | None = Field(description="Lowest that one fold's network alone gives; null with a single fold.")
    high: float | None = Field(description="Highest that one fold's network alone gives; null with a single fold.")
    reason: str = Field(description="Why there is none; empty where there is one.")


class ScanRecord(_Part):
    """What was read. UIDs stand here so that the result can be filed; they name no patient to who lacks the scan."""

    study_instance_uid: str | None = Field(description="Null for an image file, as are the UIDs that follow.")
    series_instance_uids: list[str] = Field(description="One, or several that an archive made of one scan.")
    frame_of_reference_uid: str | None
    sop_instance_uids: list[str] = Field(description="Of the slices, in the order of the volume.")
    source_sha256: str
    series: str | None = Field(description="The series' key: first digits of its UID's SHA-256.")
    chosen_because: str
    rejected: list[dict[str, str]]
    repaired: list[str]


class ModelRecord(_Part):
    """Which model has read."""

    variant: str
    folds: int
    sha256: str
    trained_with: dict[str, str | int | None] | None
    trained_on: TrainedOn | None = Field(description="Null: UNKNOWN TRAINING DATA, and so is a kind that is null.")
    changes: list[Change] = Field(description="What was changed by hand after the model was evaluated.")
    cpmn: str = Field(description="Version of this software.")


class CheckRecord(_Part):
    """What one check of the scan found (docs/reference/checks.md)."""

    check: str
    outcome: Literal["passed", "warned", "refused", "overruled"]
    seen: str = ""
    remedy: str = ""


class Times(_Part):
    """When and how long; wall clock, s."""

    finished_at: str = Field(description="UTC, ISO 8601.")
    convert_s: float = Field(description="Reading the files and checking them.")
    network_s: float = Field(description="Finding the lungs and reading them by all folds.")
    total_s: float


class PredictionRecord(_Part):
    """Contents of `prediction.json`: one reading of one scan. Research use only."""

    schema_version: Literal[1]
    statement: str
    decision: Literal["PE", "no PE", "indeterminate", "none: no threshold"]
    reasons: list[str] = Field(description="Why it is indeterminate; empty otherwise.")
    positive: bool | None = Field(description="Whether the decision is PE; null where there is none.")
    probability: Probability
    score: float = Field(description="What is compared with the threshold, by `score_rule`.")
    score_rule: str
    threshold: Threshold
    class_probability: float = Field(description="Mean output of the classification heads; not calibrated.")
    volume_ml: float = Field(description="Marked in all, mL.")
    lesions: list[Lesion]
    warnings: list[str] = Field(description="What makes the result doubtful.")
    checks: list[CheckRecord]
    scan: ScanRecord
    model: ModelRecord
    times: Times
    request: str | None = Field(
        default=None,
        description="Hash of what was asked for: sizes and dates of the source's files, series, options. By it "
        "`--skip-existing` knows a result again.",
    )


class FailureRecord(_Part):
    """Contents of `error.json`: why a scan was not read. It names neither patient nor path."""

    schema_version: Literal[1]
    statement: str
    kind: Literal["refused", "scan", "call", "machine", "unexpected"] = Field(
        description="refused: by a check that can be overruled; scan: it cannot be read; call: what was asked for "
        "cannot be done; machine: a full disk, too little memory, a file that may not be read; unexpected: a fault of "
        "this software."
    )
    check: str | None = Field(description="The check that refused it.")
    problem: str
    remedy: str
    cpmn: str = Field(description="Version of this software.")
    finished_at: str = Field(description="UTC, ISO 8601.")
