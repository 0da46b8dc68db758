"""Settings of `crop`: the lung box, a function of the NCT alone."""

from typing import Literal

from pydantic import Field

from cpmn.config.section import Section


class CropConfig(Section):
    """How the lungs are found, and the margin of the box."""

    lungs: Literal["classical", "lungmask", "totalsegmentator"] = Field(
        default="classical",
        description="What finds the lungs: thresholds and shape (no weights to download), or lungmask or "
        "TotalSegmentator where you have installed them; their weights' licences are yours to check.",
    )
    threshold_hu: float = Field(default=-400.0, ge=-1000, le=0, description="Voxels below are air or lung, in HU.")
    spacing_mm: float = Field(
        default=2.0, ge=0.5, le=10, description="Isotropic resolution at which lungs are segmented, in mm."
    )
    minimum_lung_ml: float = Field(
        default=300.0,
        ge=0,
        le=10_000,
        description="Smallest accepted total lung volume, in mL: a child of two has about 400, a head with its sinuses "
        "70. Lower it for infants. `register` asks it of both scans.",
    )
    margin_mm: float = Field(
        default=10.0, ge=0, le=500, description="Margin around the lungs on every side of the box, in mm."
    )
