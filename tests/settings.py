"""Settings of `train` by their names alone: each goes into the section that it stands in."""

from typing import Any

from cpmn.config.keys import merged
from cpmn.config.mistakes import MOVED
from cpmn.config.train import TrainConfig


def in_sections(**changes: Any) -> dict[str, Any]:
    """`steps=3` is `{"schedule": {"steps": 3}}`; sections and what stands in `train` itself stay."""
    values: dict[str, Any] = {}
    for key, value in changes.items():
        section = MOVED["train"].get(key, key).rpartition(".")[0]
        values = merged(values, {section: {key: value}} if section else {key: value})
    return values


def train_config(**changes: Any) -> TrainConfig:
    """The default settings with changes."""
    return TrainConfig.model_validate(in_sections(**changes))
