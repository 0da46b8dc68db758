"""Settings of `report`: the self-contained HTML page."""

from pydantic import Field

from cpmn.config.section import Section


class ReportConfig(Section):
    """What the report shows."""

    title: str = Field(default="Pulmonary embolism on non-contrast CT", description="Title of the report.")
    maximum_patients: int = Field(
        default=60, ge=1, le=100_000, description="Most patients shown with pictures, wrong decisions first (count)."
    )
    window_center: float = Field(default=45.0, description="Centre of the grey scale of the pictures, in HU.")
    window_width: float = Field(
        default=160.0,
        gt=0,
        le=10_000,
        description="Width of the grey scale of the pictures, in HU; narrow, so that faint clots show.",
    )
    zoom_mm: float = Field(default=80.0, gt=0, le=1000, description="Side of the close-up around a finding, in mm.")
