"""Variants: named sets of overrides of the `train` section."""

from typing import Any

from cpmn.config.train import TrainConfig
from cpmn.errors import CpmnError

BASES: dict[str, dict[str, Any]] = {
    "cpmn": {},
    "no_ifa": {"alignment_weight": 0.0},
    "no_ifd": {"discrepancy_weight": 0.0},
    "no_mutual": {"mutual_weight": 0.0},
    "nct_only": {"pathways": ("nct",)},
    "nct_nct": {"ctpa_source": "nct"},
    "shuffled_ctpa": {"ctpa_source": "shuffled"},
    "ctpa_pretrained": {"pathways": ("nct",), "pretraining_fraction": 0.5},
}
"""Overrides of the known bases; `cpmn` has all parts. `nct_only` is the honest baseline that never sees a CTPA and
keeps everything that needs none (both tasks, Intra-Feature Discrepancy), so that the difference is what CTPA adds."""


def base_of(name: str, custom: dict[str, dict[str, Any]]) -> str:
    """Name of the known base that variant `name` starts from."""
    return custom.get(name, {}).get("base", name if name in BASES else "cpmn")


def resolve_variant(train: TrainConfig, name: str, custom: dict[str, dict[str, Any]]) -> TrainConfig:
    """Training settings of variant `name`: the section, then the base's overrides, then the variant's own.

    Raises CpmnError for a variant that is neither a known base nor defined under `variants`.
    """
    if name not in BASES and name not in custom:
        known = ", ".join([*BASES, *custom])
        raise CpmnError(f"train.variants: '{name}' is not known. Define it under 'variants' or choose from: {known}.")
    base = base_of(name, custom)
    if base not in BASES:
        raise CpmnError(f"variants.{name}.base: '{base}' is not a known base. Choose from: {', '.join(BASES)}.")
    own = {key: value for key, value in custom.get(name, {}).items() if key != "base"}
    return TrainConfig.model_validate(train.model_dump() | BASES[base] | own)
