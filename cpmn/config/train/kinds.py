"""Types that several parts of the `train` section share."""

from typing import Annotated, Literal

from pydantic import Field

Phase = Literal["nct", "ctpa"]
Positive = Annotated[float, Field(gt=0)]
Spacing = tuple[Positive, Positive, Positive]
Share = Annotated[float, Field(ge=0, le=1)]
