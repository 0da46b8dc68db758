"""Settings of `propagate`: embolus labels from the CTPA grid to the native NCT grid."""

from pydantic import Field

from cpmn.config.section import Section


class PropagateConfig(Section):
    """How labels are resampled so that small clots survive."""

    supersampling: int = Field(
        default=2,
        ge=1,
        le=8,
        description="Fewest samples per voxel and axis; more are taken where CTPA voxels are finer (count).",
    )
