"""What every configuration section shares."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section that refuses unknown keys, so that a misspelt key is an error and not a silent default.

    Nor does it take numbers that are none or infinite: `json` could not carry them to the stages that follow.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
