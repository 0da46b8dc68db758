"""Paths as people and spreadsheets write them: backslashes, invisible characters, umlauts in two pieces."""

import re
import unicodedata
from pathlib import Path, PureWindowsPath

INVISIBLE = {*"\u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202c\u2060\ufeff"}
"""Blanks and marks that no one sees: non-breaking and zero-width ones, soft hyphens, marks of the direction of text."""
FORMS = ("NFC", "NFD")
DRIVE = re.compile(r"(?:^|/)([A-Za-z]:)[\\/]")


def visible(text: str) -> str:
    """`text` without invisible characters and without blanks at its ends."""
    return "".join(sign for sign in text if sign not in INVISIBLE).strip()


def located(folder: Path, text: str) -> Path:
    """The path that a cell of a sheet in `folder` means, absolute: as written, or the first spelling of it that exists.

    Tried are backslashes as slashes, the path without invisible characters, and both Unicode forms of its letters:
    macOS writes an umlaut in two pieces (NFD), most others in one.
    """
    written = (folder / text).absolute()
    if text.isascii() and "\\" not in text:
        return written
    spellings = [text, visible(text)]
    spellings += [one.replace("\\", "/") for one in spellings if not PureWindowsPath(one).drive]
    tried = [unicodedata.normalize(form, one) for one in spellings for form in FORMS]
    found = (path for one in [*spellings, *tried] if (path := (folder / one).absolute()).exists())
    return next(found, written)


def odd_spelling(path: Path) -> str:
    """What in a path that does not exist may be why, as a clause; empty where nothing is."""
    text = str(path)
    if drive := DRIVE.search(text):
        return f"it is a Windows path ({drive[1]}): give the path on this machine"
    if "\\" in text:
        return "it holds backslashes: write /"
    if hidden := next((sign for sign in text if sign in INVISIBLE), ""):
        return f"it holds an invisible character, U+{ord(hidden):04X}: type the path again"
    return ""
