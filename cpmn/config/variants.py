"""Variants: named sets of overrides of the `train` section."""

import re
from typing import Any

from pydantic import ValidationError

from cpmn.config.keys import merged
from cpmn.config.mistakes import wrong_keys
from cpmn.config.train import TrainConfig
from cpmn.errors import CpmnError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # as a patient's: it names folders, files and MLflow runs
MOST_TIMES = 1000  # our choice
COST_OF_CPMN = 2.2
"""Time of a `cpmn` step over that of a `nct_only` step: 2.18 (2.09 to 2.42; `docs/protocol.md`)."""

OF_ALL = {"variants", "folds", "test_fraction", "validation_fraction", "unannotated"}
"""Keys of `train` that say who takes part: the variants of a run are compared on the same patients."""

BASES: dict[str, dict[str, Any]] = {
    "cpmn": {},
    "no_ifa": {"loss": {"alignment_weight": 0.0}},
    "no_ifd": {"loss": {"discrepancy_weight": 0.0}},
    "no_mutual": {"loss": {"mutual_weight": 0.0}},
    "nct_only": {"network": {"pathways": ("nct",)}},
    "nct_nct": {"sampling": {"ctpa_source": "nct"}},
    "shuffled_ctpa": {"sampling": {"ctpa_source": "shuffled"}},
    "nct_only_long": {"network": {"pathways": ("nct",)}, "steps_times": COST_OF_CPMN},
    "ctpa_pretrained": {"network": {"pathways": ("nct",)}, "schedule": {"pretraining_fraction": 0.5}},
}
"""Overrides of the known bases; `cpmn` has all parts. `nct_only` is the honest baseline that never sees a CTPA and
keeps everything that needs none (both tasks, Intra-Feature Discrepancy), so that the difference is what CTPA adds;
`nct_only_long` gets the same compute as `cpmn` instead of the same steps, `ctpa_pretrained` the same CTPA one after the
other instead of side by side."""


def base_of(name: str, custom: dict[str, dict[str, Any]]) -> str:
    """Name of the known base that variant `name` starts from."""
    return custom.get(name, {}).get("base", name if name in BASES else "cpmn")


def resolve_variant(train: TrainConfig, name: str, custom: dict[str, dict[str, Any]]) -> TrainConfig:
    """Training settings of variant `name`: the section, then the base's overrides, then the variant's own.

    Sections are merged key by key. Raises CpmnError for a variant that is neither a known base nor defined under
    `variants`.
    """
    if not NAME.fullmatch(name):
        raise CpmnError(f"variants: '{name}' names folders and files. Use letters, digits, _ and -, 64 at most.")
    if name not in BASES and name not in custom:
        known = ", ".join([*BASES, *custom])
        raise CpmnError(f"train.variants: '{name}' is not known. Define it under 'variants' or choose from: {known}.")
    if shared := sorted(custom.get(name, {}).keys() & OF_ALL):
        raise CpmnError(f"variants.{name}: {', '.join(shared)} hold for all variants. Set them under 'train'.")
    base = base_of(name, custom)
    if base not in BASES:
        raise CpmnError(f"variants.{name}.base: '{base}' is not a known base. Choose from: {', '.join(BASES)}.")
    values = merged(merged(train.model_dump(), BASES[base]), custom.get(name, {}))
    values.pop("base", None)
    times = _times(name, values.pop("steps_times", 1.0))
    try:
        resolved = TrainConfig.model_validate(values)
        if "nct" not in resolved.network.pathways:
            raise CpmnError(f"variants.{name}: evaluation reads the NCT. Name nct among network.pathways.")
        return resolved.changed(schedule={"steps": round(resolved.schedule.steps * times)})
    except ValidationError as error:
        raise CpmnError("configuration is not valid:\n" + wrong_keys(error, "variants", name)) from error


def _times(name: str, times: Any) -> float:
    if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times <= MOST_TIMES:
        raise CpmnError(f"variants.{name}.steps_times: {times!r} is not a number above 0 and up to {MOST_TIMES}.")
    return times
