"""Settings of `convert`: DICOM or image file to NIfTI in HU."""

from typing import Literal

from pydantic import Field

from cpmn.config.section import Section


class ConvertConfig(Section):
    """How a series is chosen and what irregularities are accepted. All values are our choice."""

    minimum_slices: int = Field(
        default=10,
        ge=2,
        le=10_000,
        description="Fewest slices of a usable series (count); fewer is a localizer or a fragment.",
    )
    full_coverage_mm: float = Field(
        default=150.0,
        ge=0,
        le=10_000,
        description="A series that covers at least this length is preferred to a shorter one, in mm.",
    )
    preferred_kernel: str = Field(
        default="", description="Reconstruction kernel to prefer, e.g. 'B30f'; empty prefers none."
    )
    spacing_tolerance_mm: float = Field(
        default=0.1,
        gt=0,
        le=100,
        description="Largest accepted distance of a slice from its evenly spaced position, in mm.",
    )
    uneven_spacing: Literal["refuse", "resample"] = Field(
        default="refuse",
        description="What to do with uneven slice gaps or missing slices: refuse, or resample to the median gap.",
    )
    maximum_gap_mm: float = Field(
        default=10.0,
        gt=0,
        le=100,
        description="Largest slice gap that resampling may bridge, in mm; a larger one is refused.",
    )
    gantry_tilt: Literal["resample", "refuse"] = Field(
        default="resample",
        description="What to do with slices sheared by a tilted gantry: resample each in its plane, or refuse. The "
        "positions state the shear exactly and no slice is missing, so that resampling is the default.",
    )
    maximum_interval_hours: float = Field(
        default=24.0,
        gt=0,
        le=1_000_000,
        description="Longest accepted time between the scans of a pair, in hours: clots and breath change. SPTA calls "
        "a pair within 12 hours good; a day leaves room for clocks that differ.",
    )
    nifti_forms: Literal["refuse", "sform", "qform"] = Field(
        default="refuse",
        description="What to do with a NIfTI scan whose sform and qform place its voxels differently: refuse, or take "
        "the one you know to be right.",
    )
    maximum_unzipped_gb: float = Field(
        default=8.0,
        gt=0,
        le=10_000,
        description="Largest content of the zip archives of a scan, in GB: ten chests of 2,000 slices fit, a zip bomb "
        "does not. It is unpacked into the folder for temporary files (TMPDIR).",
    )
