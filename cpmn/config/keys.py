"""Nested settings: laid over each other, and as dotted keys."""

from collections.abc import Mapping
from typing import Any


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` laid over them, section by section."""
    result = dict(values)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key: `{"loss": {"constant": "peer"}}` is `{"loss.constant": "peer"}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
