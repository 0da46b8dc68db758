"""Reasons for which a patient is left out, without the file paths in them."""

import re
from pathlib import Path

from cpmn.cohort.sheet import Patient

# In brackets, as PatientError writes it, a path may hold spaces and brackets; elsewhere it ends at the first space.
PATH_IN_BRACKETS = re.compile(r"\((?:<(\w+)>|[A-Za-z]:\\|/)(?:[^()]|\([^()]*\))*\)(?=[.,;:]|$)")
# One whose own brackets do not close, or lie deeper: all up to the last bracket goes, whatever else that costs.
PATH_WITH_BRACKETS = re.compile(r"\((?:<(\w+)>(?=[\\/])|[A-Za-z]:\\|/).*\)", re.DOTALL)
KNOWN_PATH = re.compile(r"(<\w+>)[^\s:,;()'\"]*")
OTHER_PATH = re.compile(r"(?<![\w.<])(?:[A-Za-z]:\\|/)[^\s:,;()'\"]*[\\/][^\s:,;()'\"]*")


def without_paths(text: str, patient: Patient) -> str:
    """`text` with file paths replaced: a path can hold a patient's name, and says nothing to the reader of a page."""
    for column in ("ctpa_mask", "nct_mask", "nct_truth", "vessels", "ctpa", "nct"):
        if path := getattr(patient, column):
            text = with_name_for_path(text, path, column)
    return without_known_paths(text)


def with_name_for_path(text: str, path: Path, name: str) -> str:
    """`text` with <name> in place of a path, where it stands as one: a short path may be part of any word."""
    if path == Path():
        return text
    return re.sub(rf"(?<![\w./-]){re.escape(str(path))}(?![\w-])", f"<{name}>", text)


def without_known_paths(text: str) -> str:
    """The same, of a scan that stands in no sheet."""
    for pattern in (PATH_IN_BRACKETS, PATH_WITH_BRACKETS):
        text = pattern.sub(lambda found: f"(<{found[1] or 'file'}>)", text)
    return OTHER_PATH.sub("<file>", KNOWN_PATH.sub(r"\1", text))
