"""Settings of `train.network`: the network, and the voxels and intensities that it sees."""

import math

from pydantic import Field, field_validator

from cpmn.config.section import Section
from cpmn.config.train.kinds import (
    LARGEST_PATCH,
    LARGEST_WIDTH,
    Clip,
    Hounsfield,
    Phase,
    Positive,
    Spacing,
    WindowScale,
)


class NetworkConfig(Section):
    """The network and its input; all of it is kept in `plan.json`, since a scan is read in the same way."""

    pathways: tuple[Phase, ...] = Field(
        default=("nct", "ctpa"),
        description="Pathways that are trained. The NCT's reads scans in the end; the CTPA's alone makes a reader of "
        "CTPA, as `annotate` trains it.",
    )
    channels: tuple[int, ...] = Field(
        default=(16, 32, 64, 96), description="Feature channels per resolution level, multiples of 8 (count)."
    )
    patch_size: tuple[int, int, int] = Field(
        default=(32, 32, 16), description="Patch size (x, y, z) in working voxels."
    )
    spacing: Spacing | None = Field(
        default=None,
        description="Working voxel spacing (x, y, z) in mm; null is the median NCT spacing of the training patients.",
    )
    planned: bool = Field(
        default=False,
        description="Whether patch_size and channels are planned from the training patients' crops and memory_gb "
        "instead of taken as given: for cohorts of other sizes than the phantom's.",
    )
    memory_gb: Positive = Field(
        default=2.0,
        description="Memory that a planned training may take, in GB; counted for "
        "two pathways in every variant: neither pathways nor loss terms change the network.",
    )
    absolute_hu: bool = Field(
        default=False,
        description="Whether the first convolution goes without group norm, which takes a patch's own mean and spread, "
        "so that the finest features keep the patch's HU.",
    )
    window_center: Hounsfield = Field(
        default=45.0, description="Intensity window centre of the NCT, in HU (blood, unenhanced)."
    )
    window_scale: WindowScale = Field(default=20.0, description="HU per unit of normalised NCT intensity.")
    blood_window: bool = Field(
        default=False,
        description="Whether the NCT's window is centred on the patient's own blood, measured in the great vessels, "
        "instead of window_center, which then serves scans where it cannot be measured.",
    )
    ctpa_window_center: Hounsfield = Field(default=250.0, description="Intensity window centre of the CTPA, in HU.")
    ctpa_window_scale: WindowScale = Field(default=100.0, description="HU per unit of normalised CTPA intensity.")
    clip: Clip = Field(default=4.0, description="Normalised intensities are clipped to +- this.")

    @property
    def reader(self) -> Phase:
        """The pathway that reads scans in the end."""
        return "nct" if "nct" in self.pathways else "ctpa"

    def window(self, phase: Phase) -> tuple[float, float]:
        """Centre of a phase's intensity window in HU and HU per unit of intensity."""
        if phase == "nct":
            return self.window_center, self.window_scale
        return self.ctpa_window_center, self.ctpa_window_scale

    @field_validator("pathways")
    @classmethod
    def _named_once(cls, value: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("must hold nct, ctpa or both, each once")
        return value

    @field_validator("channels")
    @classmethod
    def _grouped(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not 2 <= len(value) <= 10 or any(n < 8 or n % 8 or n > LARGEST_WIDTH for n in value):
            raise ValueError(
                f"must be 2 to 10 levels, each a multiple of 8 (group norm has 8 groups) up to {LARGEST_WIDTH}"
            )
        return value

    @field_validator("patch_size")
    @classmethod
    def _not_tiny(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(value) < 4:
            raise ValueError("must be at least 4 voxels along every axis")
        if math.prod(value) > LARGEST_PATCH:
            raise ValueError(f"must hold at most {LARGEST_PATCH} voxels")
        return value
