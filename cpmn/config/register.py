"""Settings of `register`: CTPA (moving) onto NCT (fixed)."""

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from cpmn.config.section import Section


class RegisterConfig(Section):
    """ANTs affine and deformable registration at a working resolution, and the limits of its quality control.

    The values are our choice, from trials on phantom pairs (docs/reference/register.md): CPMN's
    abstract states no registration.
    """

    engine: Literal["ants", "greedy"] = Field(
        default="ants",
        description="ants, or greedy (package picsl-greedy, extra `greedy`); alike on the phantom.",
    )
    spacing_mm: float = Field(
        default=3.0, ge=0.5, le=20, description="Isotropic working resolution of the registration, in mm."
    )
    margin_mm: float = Field(
        default=10.0,
        ge=0,
        le=500,
        description="Margin around the NCT's lungs that takes part and to whose edge the warp fades, in mm.",
    )
    reach_mm: float = Field(
        default=10.0,
        ge=0,
        le=500,
        description="The affine step compares only the lungs and this far around them, in mm.",
    )
    window_hu: tuple[float, float] = Field(
        default=(-1000.0, 300.0),
        description="Intensities are clipped to this range; HU.",
    )
    between_lungs_hu: float = Field(
        default=100.0,
        description="Upper clip in and between the lungs, so that contrast medium does not show; HU.",
    )
    affine_iterations: tuple[int, ...] = Field(
        default=(200, 100), min_length=1, description="Affine iterations at shrink factors ..., 4, 2 (count)."
    )
    affine_sampling: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Share of voxels sampled by the affine step (0-1); all of them only cost time.",
    )
    iterations: tuple[int, ...] = Field(
        default=(40, 40), min_length=1, description="Most SyN iterations per resolution level, coarse to fine (count)."
    )
    convergence: float = Field(
        default=5e-4,
        ge=0,
        le=1,
        description="A level ends when the similarity's slope over the last 6 iterations is below this; 0 runs all.",
    )
    shrink_factors: tuple[int, ...] = Field(
        default=(4, 2),
        min_length=1,
        description="Shrink factor of each resolution level, as multiples of spacing_mm (count).",
    )
    metric: Literal["CC", "Mattes", "MeanSquares"] = Field(
        default="CC",
        description="SyN similarity: CC is local correlation; Mattes, mutual information, is faster and less accurate.",
    )
    radius: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Radius of the CC neighbourhood in voxels, or number of Mattes bins (32 is usual).",
    )
    gradient_step: float = Field(default=0.4, gt=0, le=100, description="SyN gradient step, in voxels of the level.")
    update_smoothing: float = Field(
        default=3.0, ge=0, le=1000, description="SyN smoothing of the update field, variance in voxels."
    )
    total_smoothing: float = Field(
        default=0.5, ge=0, le=1000, description="SyN smoothing of the total field, variance in voxels."
    )
    greedy_iterations: tuple[int, ...] = Field(
        default=(50, 20, 5),
        min_length=1,
        description="Iterations of the engine greedy at shrink factors ..., 4, 2, 1 (count).",
    )
    fallback: dict[str, Any] = Field(
        default={
            "affine_sampling": 0.5,
            "affine_iterations": [300, 200, 100],
            "iterations": [80, 60, 60],
            "convergence": 1e-4,
            "shrink_factors": [8, 4, 2],
            "seed": 2,
        },
        description="Settings that a pair is tried with once more after it failed the quality control; {} for no "
        "second try.",
    )
    seed: int = Field(
        default=1, ge=1, description="Random seed of the sampled affine metric (0 would mean the clock to ANTs)."
    )
    minimum_lung_dice: float = Field(
        default=0.85,
        ge=0,
        le=1,
        description="Quality control: lowest accepted lung Dice where both scans see lung (0-1).",
    )
    minimum_lung_coverage: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Quality control: lowest accepted share of the NCT's lungs seen by the CTPA (0-1).",
    )
    minimum_similarity: float = Field(
        default=0.7,
        ge=-1,
        le=1,
        description="Quality control: lowest accepted correlation of intensities deep inside the lungs (-1 to 1); "
        "right phantom pairs reach 0.77 to 0.95, those of two patients 0.63, mirrored ones 0.23.",
    )
    minimum_vessel_overlap: float = Field(
        default=0.45,
        ge=0,
        le=1,
        description="Quality control: lowest accepted Dice of the brightest 5 % deep inside the lungs (0-1); "
        "right phantom pairs reach 0.54 to 0.85, those of two patients 0.54, mirrored ones 0.15.",
    )
    maximum_inverse_error_mm: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="Quality control: largest accepted mean distance in the lungs after there and back, in mm.",
    )
    maximum_folding_fraction: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Quality control: highest accepted share of voxels with Jacobian <= 0 (0-1).",
    )

    @model_validator(mode="after")
    def _one_shrink_factor_per_level(self) -> "RegisterConfig":
        if len(self.iterations) != len(self.shrink_factors):
            raise ValueError("iterations and shrink_factors must have one value for each resolution level")
        return self

    @model_validator(mode="after")
    def _fallback_is_a_schedule(self) -> "RegisterConfig":
        try:
            self.second_try()
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, item['loc']))} {item['msg']}" for item in error.errors())
            raise ValueError(f"fallback is no valid schedule: {wrong}") from error
        return self

    def second_try(self) -> "RegisterConfig | None":
        """Settings of the second try, or None if there is none. Raises ValidationError for an unknown key."""
        if not self.fallback:
            return None
        return type(self).model_validate(self.model_dump() | self.fallback | {"fallback": {}})
