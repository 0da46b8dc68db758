"""Settings of `evaluate`: decision rule, intervals and lesion matching."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from cpmn.config.section import Section
from cpmn.config.train.kinds import Hounsfield

READING = {"overlap", "mirror", "highest_hu", "bfloat16", "anatomy"}
"""Fields that say how a scan is read (`cpmn.model.ensemble.read_crop`), kept in the decision."""

Fraction = Annotated[float, Field(ge=0.001, le=0.999)]
Overlap = Annotated[float, Field(ge=0, le=0.9)]
LesionVolume = Annotated[float, Field(ge=0, le=100_000)]


class EvaluateConfig(Section):
    """How patients are scored and how sure the figures are."""

    target_specificity: float = Field(
        default=0.95, gt=0, lt=1, description="Specificity on validation that the patient threshold aims at (0-1)."
    )
    minimum_fit_patients: int = Field(
        default=10,
        ge=2,
        le=1_000_000,
        description="Fewest out-of-fold patients of each class for a fitted combination of class and lesion (count).",
    )
    segmentation_threshold: Fraction = Field(
        default=0.5, description="Embolus probability at or above which a voxel is marked (0-1)."
    )
    surface_tolerance_mm: float = Field(
        default=1.0, gt=0, le=1000, description="Tolerance of the normalised surface Dice, in mm."
    )
    epsilon_mm: tuple[float, ...] = Field(
        default=(0.0, 2.0, 5.0), description="Distances from a mark to a clot that count as a hit (CAD-PE), in mm."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device that reads; auto takes a CUDA GPU if there is one."
    )
    overlap: Overlap = Field(
        default=0.3, description="Overlap of neighbouring sliding windows (0-0.9); 0.9 reads 1000 times as many as 0."
    )
    mirror: bool = Field(
        default=False, description="Whether each window is read mirrored left to right too, in twice the time."
    )
    highest_hu: Hounsfield | None = Field(
        default=None,
        description="Voxels of the NCT above it are never marked, in HU: bone, calcium and metal, where no embolus is. "
        "150 costs no clot of the phantom, but single voxels of noisy scans; null marks anywhere.",
    )
    anatomy: bool = Field(
        default=True,
        description="Whether nothing is marked where no embolus can be: in bone and fat, and outside the hull of lungs "
        "and mediastinum. Costs no clot of the phantom.",
    )
    bfloat16: bool = Field(
        default=False,
        description="Whether scans are read in mixed precision (bfloat16): on GPUs and on processors with "
        "AVX512-BF16 or AMX, which are faster so; others read in float32.",
    )
    interval_level: float = Field(default=0.95, gt=0, lt=1, description="Level of all intervals (0-1).")
    bootstrap_samples: int = Field(
        default=2000, ge=100, le=1_000_000, description="Bootstrap samples over patients (count)."
    )
    minimum_lesion_mm3: LesionVolume = Field(default=2.0, description="Predicted components below are dropped, in mm3.")
    seed: int = Field(default=0, ge=0, description="Seed of the bootstrap.")


def device_of(config: Mapping[str, Any]) -> str:
    """`evaluate.device` of a run's configuration. Jobs read it there: as a parameter of a rule, which it is not for a
    result, a change would run finished patients again."""
    return EvaluateConfig.model_validate(config.get("evaluate", {})).device
