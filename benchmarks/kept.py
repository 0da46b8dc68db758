"""Work on one patient that is kept on disk, so that an interrupted benchmark goes on where it stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpmn.files import read_json, write_json


def kept(path: Path, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The record in `path` if it was made with the same key (settings and code), else a new one."""
    if path.is_file() and (record := read_json(path))["key"] == key:
        return record
    record = {"key": key, **make()}
    write_json(path, record)
    return record
