"""What every configuration section shares."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

LARGEST = 2**63  # our choice: what a seed may be; every other number that costs time or memory has its own limit


class Section(BaseModel):
    """A section that refuses unknown keys, so that a misspelt key is an error and not a silent default.

    Nor does it take numbers that are none, infinite or astronomic: `json` could not carry them to the stages that
    follow, and what is computed with them overflows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, int | float) and abs(value) >= LARGEST:
            raise ValueError(f"must be smaller than {LARGEST:.0e}")
        return value
