"""Settings of `train`: splits and variants here, the rest by subject in a module each."""

from typing import Any, Literal

from pydantic import Field, model_validator

from cpmn.config.keys import merged
from cpmn.config.section import Section
from cpmn.config.train.augmentation import AugmentationConfig
from cpmn.config.train.kinds import Phase, Seed, Spacing
from cpmn.config.train.loss import LossConfig
from cpmn.config.train.machine import MachineConfig
from cpmn.config.train.network import NetworkConfig
from cpmn.config.train.sampling import SamplingConfig
from cpmn.config.train.schedule import ScheduleConfig

__all__ = ["Phase", "Spacing", "TrainConfig"]


class TrainConfig(Section):
    """What a training depends on. Values are our choice unless a source is given: CPMN's abstract states none."""

    variants: tuple[str, ...] = Field(
        default=("cpmn", "nct_only"), min_length=1, description="Names of the variants to train and compare."
    )
    folds: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Cross-validation folds (count), at most as many as groups of the smaller class; 1 trains one "
        "model on one split.",
    )
    test_fraction: float = Field(default=0.25, gt=0, lt=1, description="Share of patients held out for testing (0-1).")
    validation_fraction: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of the non-test patients used for validation when folds is 1 (0-1).",
    )
    unannotated: Literal["use", "refuse"] = Field(
        default="use",
        description="PE patients of whom nobody outlined the clots: use them, by what annotate reads and by their "
        "label, or refuse each.",
    )
    seed: Seed = Field(default=0, description="Seed of splits, initialisation, sampling and augmentation.")
    network: NetworkConfig = Field(default_factory=NetworkConfig, description="The network and what it sees.")
    loss: LossConfig = Field(default_factory=LossConfig, description="Terms of the objective, weights of labels.")
    sampling: SamplingConfig = Field(default_factory=SamplingConfig, description="Which patches a step sees.")
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig, description="What varies a patch.")
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig, description="How long and how fast it learns.")
    machine: MachineConfig = Field(default_factory=MachineConfig, description="What it runs on.")

    def changed(self, **changes: Any) -> "TrainConfig":
        """These settings with `changes` laid over them, key by key. Raises ValidationError."""
        return TrainConfig.model_validate(merged(self.model_dump(), changes))

    @property
    def reads_ctpa(self) -> bool:
        """Whether a training sees CTPAs, beside the NCT or before it."""
        return self.trains_ctpa_pathway or self.schedule.pretraining_fraction > 0

    @property
    def trains_ctpa_pathway(self) -> bool:
        """Whether a pathway of its own learns from CTPAs."""
        return "ctpa" in self.network.pathways and self.sampling.ctpa_source != "nct"

    @model_validator(mode="after")
    def _fits(self) -> "TrainConfig":
        if self.schedule.pretraining_fraction and "ctpa" in self.network.pathways:
            raise ValueError("schedule.pretraining_fraction is for one pathway: set network.pathways to [nct]")
        return self
