"""Settings of `phantom`: the built-in dual-phase cohort."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from cpmn.config.section import Section
from cpmn.errors import CpmnError

Difficulty = Literal["learnable", "mixed", "realistic", "invisible"]
DIFFICULTIES: tuple[str, ...] = get_args(Difficulty)
Length = Annotated[float, Field(ge=0.1, le=2000)]


class PhantomConfig(Section):
    """Size, seed, difficulty and scanning of the phantom cohort. One patient of every consecutive pair has PE."""

    patients: int = Field(
        default=12, ge=1, le=100000, description="Patients in the cohort (count); one of each pair has PE."
    )
    reported: tuple[str, ...] = Field(
        default=("phantom-001", "phantom-006", "phantom-008", "phantom-009"),
        description="Patients with PE of whom the sheet names no outline: the report alone is known, as of most "
        "patients of a hospital.",
    )
    seed: int = Field(default=7, ge=0, description="Seed of the cohort; the same seed gives the same bytes.")
    difficulty: Difficulty = Field(
        default="learnable",
        description="Contrast of clots to blood on NCT: learnable is +15 to +35 HU throughout; mixed draws the "
        "published mixture (mostly isodense) for each clot, realistic once per patient; invisible is 0 HU.",
    )
    nct_spacing: tuple[Length, Length, Length] = Field(
        default=(2.6, 2.6, 3.5), description="NCT voxels (x, y, z) in mm."
    )
    ctpa_spacing: tuple[Length, Length, Length] = Field(
        default=(2.4, 2.4, 3.0), description="CTPA voxels (x, y, z) in mm."
    )
    nct_fov_mm: tuple[Length, Length, Length] = Field(
        default=(336.0, 240.0, 256.0), description="NCT extent (x, y, z) in mm."
    )
    ctpa_fov_mm: tuple[Length, Length, Length] = Field(
        default=(312.0, 228.0, 238.0),
        description="CTPA extent (x, y, z) in mm; the smaller field of view cuts some skin off.",
    )
    nuisance: bool = Field(
        default=True,
        description="Draw what real scans have beside emboli, for PE and normals alike: findings, uneven blood, "
        "streaks, movement during the exposure, varied dose and kernel. Switch it off to see what one cause does.",
    )
    vessels: bool = Field(
        default=False, description="Also write each patient's arteries and veins on the NCT grid, as if free of clots."
    )
    nct_noise_hu: float = Field(
        default=12.0,
        ge=0,
        le=1000,
        description="Standard deviation of the NCT noise at 3 mm slices and the usual dose, in HU.",
    )
    ctpa_noise_hu: float = Field(
        default=16.0,
        ge=0,
        le=1000,
        description="Standard deviation of the CTPA noise at 3 mm slices and the usual dose, in HU.",
    )
    subsample_mm: float = Field(
        default=1.3,
        ge=0.1,
        le=10,
        description="Largest distance of the sub-voxel samples that partial volume is averaged from, in mm.",
    )

    def changed(self, values: Mapping[str, Any]) -> "PhantomConfig":
        """These settings with some replaced. Raises CpmnError that says which value is not allowed and why."""
        try:
            return PhantomConfig.model_validate(self.model_dump() | dict(values))
        except ValidationError as error:
            problems = [f"{item['loc'][0]} is {item['input']!r}: {item['msg']}" for item in error.errors()]
            raise CpmnError("; ".join(problems)) from error
