"""What is said of settings that are not valid."""

from collections.abc import Iterator

from pydantic import ValidationError

from cpmn.config.section import Section
from cpmn.config.train import TrainConfig


def _sections_of_train() -> Iterator[tuple[str, str]]:
    """Key and dotted place of each setting that lay in `train` itself once."""
    for name, field in TrainConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from ((key, f"{name}.{key}") for key in field.annotation.model_fields)


MOVED = {
    "train": dict(_sections_of_train()) | dict.fromkeys(("mixed_precision", "cpu_bfloat16"), "machine.bfloat16"),
    "evaluate": {"confidence": "interval_level"},
}
"""Where the keys of earlier versions are now, by section."""
SECRET = ("track", "uri")  # may hold a password
LONGEST_SHOWN = 200  # characters


def wrong_keys(error: ValidationError, *section: str) -> str:
    """One line per wrong key: its dotted name, what is wrong, what was given (not where the section as a whole is)."""
    lines = []
    for item in error.errors():
        key = [*section, *map(str, item["loc"])]
        shown = item["loc"] and not isinstance(item["input"], dict) and tuple(key) != SECRET
        given = f" (given: {_short(item['input'])})" if shown else ""
        problem = _unknown(key) if item["type"] == "extra_forbidden" else item["msg"]
        lines.append(f"  {'.'.join(key)}: {problem}{given}")
    return "\n".join(lines)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _unknown(key: list[str]) -> str:
    """That a key is no setting, or where it is now; a variant's keys are those of `train`."""
    *section, name = key
    known = MOVED.get("train" if section[0:1] == ["variants"] and len(section) == 2 else ".".join(section), {})
    return f"is now {'.'.join([*section, known[name]])}" if name in known else "is not a setting"
