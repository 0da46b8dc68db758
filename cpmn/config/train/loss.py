"""Settings of `train.loss`: weights of the terms, and what each label weighs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cpmn.config.section import Section
from cpmn.config.train.kinds import Positive, Share

Weight = Annotated[float, Field(ge=0, le=1_000_000)]


class LossConfig(Section):
    """The terms of the objective, whose formulas are in `cpmn.model.losses`; a term of weight 0 is not computed."""

    classification_weight: Weight = Field(
        default=0.5, description="Weight of the classification loss beside segmentation."
    )
    teaching_weight: Weight = Field(
        default=1.0,
        description="Weight of what the CTPA pathway reads as the label of pairs without an outline; 0 is off.",
    )
    mutual_weight: Weight = Field(
        default=0.5, description="Weight of mutual learning of both tasks' predictions; 0 is off."
    )
    alignment_weight: Weight = Field(default=0.5, description="Weight of Inter-Feature Alignment; 0 switches it off.")
    alignment_tolerance: int = Field(
        default=0,
        ge=0,
        le=6,
        description="Registration error that alignment forgives, in places, of at most 8 along an axis (count).",
    )
    discrepancy_weight: Weight = Field(
        default=0.2, description="Weight of Intra-Feature Discrepancy; 0 switches it off."
    )
    constant: Literal["peer", "ctpa", "none"] = Field(
        default="peer",
        description="Who gets no gradient from alignment and mutual learning: peer (each from the other's side), "
        "ctpa (it only teaches) or none.",
    )
    warmup_fraction: Share = Field(
        default=0.2, description="Share of the steps over which alignment, mutual learning and discrepancy rise (0-1)."
    )
    visibility_floor: Share = Field(
        default=1.0,
        description="Label weight of a clot that cannot be told from blood on NCT; 1 weighs all clots alike (0-1).",
    )
    visible_hu: Positive = Field(
        default=20.0, description="Contrast to the blood around at which a clot counts as fully visible, in HU."
    )
    invisible_hu: float = Field(
        default=0.0,
        ge=0,
        le=10_000,
        description="Contrast to the blood around up to which a clot cannot be told from it, in HU.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "LossConfig":
        if self.invisible_hu >= self.visible_hu:
            raise ValueError(f"invisible_hu must be below visible_hu, {self.visible_hu:g}")
        return self
