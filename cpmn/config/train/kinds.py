"""Types that several parts of the `train` section share, and the plan of a trained network.

The limits are ours, wide of anything that is trained: they tell a slip or a damaged file from a setting.
"""

from typing import Annotated, Literal

from pydantic import Field

Phase = Literal["nct", "ctpa"]
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
Millimetres = Annotated[float, Field(ge=0.1, le=50)]
Spacing = tuple[Millimetres, Millimetres, Millimetres]
Share = Annotated[float, Field(ge=0, le=1)]
Hounsfield = Annotated[float, Field(ge=-10_000, le=10_000)]
WindowScale = Annotated[float, Field(ge=0.1, le=10_000)]
Clip = Annotated[float, Field(ge=0.1, le=1000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
LARGEST_WIDTH = 2048  # channels of a level
LARGEST_PATCH = 2**27  # voxels, as of 512 x 512 x 512
