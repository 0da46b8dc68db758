"""The audit log: what was done to which study and when, a JSON object a line, without names, numbers, UIDs or paths."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Audit:
    """Appends to `path`. One line is one system call, so that two processes may write."""

    def __init__(self, path: Path):
        self._path = path

    def write(self, event: str, study: str = "", **facts: Any) -> None:
        """Add a line: time (UTC), event, key of the study, and facts that are no text of the scan."""
        record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        line = json.dumps(record | ({"study": study} if study else {}) | facts) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
