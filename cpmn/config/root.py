"""The whole configuration, as `config/config.yaml` holds it."""

from typing import Any, Literal

from pydantic import Field, ValidationError

from cpmn.config.annotate import AnnotateConfig
from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.config.evaluate import EvaluateConfig
from cpmn.config.mistakes import wrong_keys
from cpmn.config.phantom import PhantomConfig
from cpmn.config.propagate import PropagateConfig
from cpmn.config.register import RegisterConfig
from cpmn.config.report import ReportConfig
from cpmn.config.section import Section
from cpmn.config.track import TrackConfig
from cpmn.config.train import TrainConfig
from cpmn.config.variants import resolve_variant
from cpmn.errors import CpmnError

LARGEST_VALUES, DEEPEST = 100_000, 50  # our choice, wide of any configuration


class Config(Section):
    """All settings, a section per stage."""

    cohort: str | None = Field(default=None, description="Path of cohort.csv; null is the built-in phantom cohort.")
    on_bad_patient: Literal["stop", "exclude"] = Field(
        default="stop", description="A patient that cannot be processed stops the run, or is excluded with the reason."
    )
    min_patients: int = Field(
        default=4,
        ge=2,
        le=1_000_000,
        description="Fewest patients that a fold still trains and validates on after exclusions; fewer stops the run "
        "(count).",
    )
    keep_intermediates: bool = Field(
        default=True,
        description="false deletes what preprocessing alone needs once it was used: the CTPA as NIfTI, warps, the CTPA "
        "on the NCT's grid. To preprocess such a patient otherwise, it is converted and registered again.",
    )
    phantom: PhantomConfig = Field(default_factory=PhantomConfig, description="The built-in dual-phase cohort.")
    convert: ConvertConfig = Field(default_factory=ConvertConfig, description="DICOM to NIfTI.")
    annotate: AnnotateConfig = Field(
        default_factory=AnnotateConfig, description="Outlines on CTPAs that nobody outlined."
    )
    register_: RegisterConfig = Field(default_factory=RegisterConfig, alias="register", description="CTPA onto NCT.")
    propagate: PropagateConfig = Field(default_factory=PropagateConfig, description="Labels onto the NCT grid.")
    crop: CropConfig = Field(default_factory=CropConfig, description="The lung box.")
    train: TrainConfig = Field(default_factory=TrainConfig, description="Splits, network, losses and schedule.")
    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Named overrides of `train`, with `base` and `seed` where wanted."
    )
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="Decision rule and intervals.")
    report: ReportConfig = Field(default_factory=ReportConfig, description="The HTML report.")
    track: TrackConfig = Field(default_factory=TrackConfig, description="MLflow.")


def load_config(values: dict[str, Any]) -> Config:
    """Validate configuration values, including every variant.

    Raises CpmnError with one line per wrong key: its dotted name, what is wrong, what was given.
    """
    _require_size(values)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise CpmnError("configuration is not valid:\n" + wrong_keys(error)) from error
    try:
        config.annotate.training(config.train.machine)
    except ValidationError as error:
        raise CpmnError("configuration is not valid:\n" + wrong_keys(error, "annotate")) from error
    for name in dict.fromkeys([*config.train.variants, *config.variants]):
        resolve_variant(config.train, name, config.variants)
    return config


def _require_size(values: Any) -> None:
    """Raise CpmnError for more than `LARGEST_VALUES` values or `DEEPEST` levels: YAML's aliases multiply lines."""
    waiting, count = [(values, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > LARGEST_VALUES or depth > DEEPEST:
            raise CpmnError(f"configuration holds more than {LARGEST_VALUES} values or {DEEPEST} levels of them.")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        waiting += [(item, depth + 1) for item in inner]
