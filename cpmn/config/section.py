"""What every configuration section shares."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section that refuses unknown keys, so that a misspelt key is an error and not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
