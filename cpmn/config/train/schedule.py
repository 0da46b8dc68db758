"""Settings of `train.schedule`: how long and how fast the network learns."""

from pydantic import Field

from cpmn.config.section import Section
from cpmn.config.train.kinds import Positive, Share


class ScheduleConfig(Section):
    """Steps, optimiser (AdamW with a one-cycle learning rate) and validation."""

    steps: int = Field(default=500, ge=1, le=10_000_000, description="Optimiser steps of one training (count).")
    learning_rate: Positive = Field(default=2e-3, description="Highest learning rate of the cycle.")
    weight_decay: float = Field(default=1e-4, ge=0, le=100, description="AdamW weight decay.")
    gradient_clip: Positive = Field(default=1.0, description="Largest gradient norm.")
    pretraining_fraction: Share = Field(
        default=0.0,
        description="Share of the steps at first in which the NCT pathway is fed CTPA patches; 0 is off. "
        "For one pathway: pathways: [nct].",
    )
    ema_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay per step of the weights' moving average, which is then validated and kept; 0 is off. For "
        "long trainings with small batches.",
    )
    epoch_steps: int = Field(
        default=50, ge=1, le=10_000_000, description="Steps between two rows of history.csv (count)."
    )
    validation_every: int = Field(
        default=3, ge=1, le=10_000_000, description="Epochs between two full validations (count); the last always runs."
    )

    @property
    def pretraining_steps(self) -> int:
        """Steps on CTPA before those on NCT; less than all."""
        return min(round(self.pretraining_fraction * self.steps), self.steps - 1)
