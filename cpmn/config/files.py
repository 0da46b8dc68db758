"""Reading configuration files outside Snakemake."""

from pathlib import Path

import yaml

from cpmn.config.root import Config, load_config
from cpmn.errors import CpmnError


def read_config(path: Path | None) -> Config:
    """The configuration in a YAML file, with defaults for what it leaves out; all defaults without a file.

    Raises CpmnError if the file cannot be read or is not valid.
    """
    if path is None:
        return Config()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise CpmnError(f"configuration {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise CpmnError(f"configuration {path} is not a mapping of sections.")
    return load_config(values)
