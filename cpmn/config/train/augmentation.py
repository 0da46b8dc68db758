"""Settings of `train.augmentation`: what varies a patch."""

from typing import Literal

from pydantic import Field

from cpmn.config.section import Section

Axis = Literal["x", "y", "z"]


class AugmentationConfig(Section):
    """Random changes of a patch: of its place for both phases alike, of its intensities for each phase."""

    flip_axes: tuple[Axis, ...] = Field(
        default=("x",), description="Axes along which patches are mirrored at random, both phases alike."
    )
    rotation_degrees: float = Field(
        default=0.0,
        ge=0,
        le=180,
        description="Largest rotation about each axis, both phases alike, in degrees; 0 is off. For real cohorts, "
        "whose patients lie less straight than the phantom.",
    )
    scaling: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Largest relative change of size, both phases alike; 0 is off. For small real cohorts.",
    )
    noise_hu: float = Field(
        default=5.0, ge=0, le=10_000, description="Largest SD of white noise added to a patch of either phase, in HU."
    )
    shift_hu: float = Field(
        default=3.0, ge=0, le=10_000, description="SD of the intensity offset of a patch of either phase, in HU."
    )
