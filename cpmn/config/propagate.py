"""Settings of `propagate`: embolus labels from the CTPA grid to the native NCT grid."""

from pydantic import Field

from cpmn.config.section import Section


class PropagateConfig(Section):
    """How labels are resampled so that small clots survive."""

    supersampling: int = Field(
        2, ge=1, le=4, description="Sub-voxel samples per axis when a label is resampled (count)."
    )
