"""The plan: everything besides the weights that reading a scan with a trained network needs."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from cpmn.config.section import Section
from cpmn.config.train.kinds import LARGEST_PATCH, LARGEST_WIDTH, Clip, Hounsfield, Seed, Spacing, WindowScale
from cpmn.errors import CpmnError
from cpmn.files import write_json

PLAN_FILE, WEIGHTS_FILE = "plan.json", "model.safetensors"
SMALLEST_EDGE = 2  # our choice: an axis is not pooled below so many voxels

Edge = Annotated[int, Field(ge=SMALLEST_EDGE, le=LARGEST_PATCH)]
Channels = Annotated[int, Field(ge=8, le=LARGEST_WIDTH, multiple_of=8)]
Stride = Annotated[int, Field(ge=1, le=2)]
Count = Annotated[int, Field(ge=0, le=10**12)]


class Plan(Section):
    """Contents of `plan.json`. Tuples are (x, y, z); intensities in HU, spacing in mm."""

    format: Literal[1] = Field(1, description="Version of this file's layout.")
    variant: str = Field(description="Variant that was trained.")
    fold: int = Field(ge=0, le=999, description="Fold that was trained.")
    seed: Seed = Field(description="Seed of initialisation, sampling and augmentation.")
    spacing: Spacing = Field(description="Working voxel spacing in mm.")
    patch_size: tuple[Edge, Edge, Edge] = Field(description="Patch size in working voxels.")
    channels: tuple[Channels, ...] = Field(
        min_length=2, max_length=10, description="Feature channels per level, finest first."
    )
    strides: tuple[tuple[Stride, Stride, Stride], ...] = Field(description="Downsampling from each level to the next.")
    absolute_hu: bool = Field(default=False, description="Whether the first convolution goes without group norm.")
    parameters: Count | None = Field(default=None, description="Weights of this pathway, the NCT's alone (count).")
    training_mb: Count | None = Field(
        default=None, description="Estimated memory of the training, both pathways, in MB."
    )
    window_center: Hounsfield = Field(description="NCT window centre in HU.")
    blood_window: bool = Field(
        default=False, description="Whether the patient's own blood, where it can be measured, is the centre instead."
    )
    window_scale: WindowScale = Field(description="HU per unit of normalised intensity.")
    clip: Clip = Field(description="Normalised intensities are clipped to +- this.")
    fingerprint: dict[str, Any] = Field(description="What the training patients' crops look like.")
    config: dict[str, Any] = Field(description="Resolved settings of the training.")
    device: str | None = Field(default=None, description="What trained it: cpu or the GPU's name; null: not recorded.")
    versions: dict[str, str] = Field(description="Versions of the packages that trained the model.")

    @model_validator(mode="after")
    def _fits(self) -> "Plan":
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError(f"{len(self.channels)} levels need {len(self.channels) - 1} strides")
        total = tuple(np.prod(self.strides, axis=0).tolist())
        if any(n % stride for n, stride in zip(self.patch_size, total, strict=True)):
            raise ValueError(f"patch_size {self.patch_size} cannot be divided by the strides' product {total}")
        if math.prod(self.patch_size) > LARGEST_PATCH:
            raise ValueError(f"patch_size {self.patch_size} has more than {LARGEST_PATCH} voxels")
        return self


def write_plan(plan: Plan, folder: Path) -> None:
    """Write `plan.json` into a model folder."""
    write_json(folder / PLAN_FILE, plan.model_dump(mode="json"))


def read_plan(folder: Path) -> Plan:
    """Read `plan.json` of a model folder. Raises CpmnError if it is absent or not a plan."""
    path = Path(folder) / PLAN_FILE
    if not path.is_file():
        raise CpmnError(f"{folder} is not a model folder: it has no {PLAN_FILE}. Give a train/VARIANT/fold-K folder.")
    return parse_plan(path.read_bytes(), str(path))


def parse_plan(content: bytes, where: str) -> Plan:
    """The plan that a file at `where` holds. Raises CpmnError if it is none."""
    try:
        return Plan.model_validate_json(content.decode("utf-8"))
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()
        raise CpmnError(f"{where} is not a valid plan: {'; '.join(reason[:3])}. Train the model again.") from error


def pooling_strides(
    spacing: Sequence[float], patch_size: Sequence[int], levels: int
) -> tuple[tuple[int, int, int], ...]:
    """Downsampling (x, y, z) between levels: 2 along an axis not yet much coarser than the finest, else 1.

    An axis is halved if its spacing is below twice the finest one's (nnU-Net's rule, Isensee 2021, so that thick
    slices are pooled later), if its size is even and if at least `SMALLEST_EDGE` voxels remain.

    Raises CpmnError if at some level no axis can be halved.
    """
    current, size, strides = np.array(spacing, float), np.array(patch_size, int), []
    for level in range(1, levels):
        halved = (current < 2 * current.min()) & (size % 2 == 0) & (size >= 2 * SMALLEST_EDGE)
        if not halved.any():
            raise CpmnError(
                f"train.network.patch_size {tuple(patch_size)} cannot be halved for level {level + 1} of {levels}. "
                "Give sizes that are multiples of a larger power of two, or fewer train.network.channels."
            )
        stride = np.where(halved, 2, 1)
        current, size = current * stride, size // stride
        strides.append((int(stride[0]), int(stride[1]), int(stride[2])))
    return tuple(strides)
