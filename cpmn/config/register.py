"""Settings of `register`: CTPA (moving) onto NCT (fixed)."""

from pydantic import Field

from cpmn.config.section import Section


class RegisterConfig(Section):
    """ANTs affine and deformable registration at a working resolution, and the limits of its quality control."""

    spacing_mm: float = Field(3.0, gt=0, description="Isotropic working resolution of the registration, in mm.")
    iterations: tuple[int, ...] = Field(
        (40, 40, 20), description="SyN iterations per resolution level, coarse to fine (count)."
    )
    metric: str = Field("CC", description="SyN similarity: CC (local correlation) or mattes (mutual information).")
    radius: int = Field(2, ge=1, description="CC neighbourhood radius in voxels, or number of mattes bins.")
    affine_sampling: float = Field(0.1, gt=0, le=1, description="Share of voxels sampled by the affine step (0-1).")
    seed: int = Field(0, description="Random seed of the sampled affine metric.")
    minimum_lung_dice: float = Field(0.8, ge=0, le=1, description="Quality control: lowest accepted lung Dice (0-1).")
    maximum_folding_fraction: float = Field(
        0.001, ge=0, le=1, description="Quality control: highest accepted share of voxels with Jacobian <= 0 (0-1)."
    )
