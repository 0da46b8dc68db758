"""Settings of `crop`: the lung box, a function of the NCT alone."""

from pydantic import Field

from cpmn.config.section import Section


class CropConfig(Section):
    """Lung segmentation by thresholds and shape, and the margin of the box."""

    threshold_hu: float = Field(default=-400.0, description="Voxels below are air or lung, in HU.")
    spacing_mm: float = Field(
        default=2.0, gt=0, description="Isotropic resolution at which lungs are segmented, in mm."
    )
    minimum_lung_ml: float = Field(default=500.0, ge=0, description="Smallest accepted total lung volume, in mL.")
    margin_mm: float = Field(default=10.0, ge=0, description="Margin around the lungs on every side of the box, in mm.")
