"""What names a DICOM node: its application entity title and its port, checked before anything is read."""

import re

from cpmn.errors import CpmnError

TITLE = re.compile(r"(?! *$)[ -\[\]-~]{1,16}")  # ASCII but for the backslash, and not spaces alone (PS3.5, table 6.2-1)
PORTS = range(1, 65536)


def checked_title(title: str) -> str:
    """The title. Raises CpmnError if DICOM allows none such."""
    if not TITLE.fullmatch(title):
        raise CpmnError(f"'{title}' is no title. Give 1 to 16 ASCII characters, without a backslash.")
    return title


def checked_port(port: int) -> int:
    """The port. Raises CpmnError if there is none such."""
    if port not in PORTS:
        raise CpmnError(f"{port} is no port. Give one from {PORTS[0]} to {PORTS[-1]}.")
    return port
