"""MLflow's SQLite file: its tables are made whole or not at all.

MLflow makes some forty tables one after the other. A kill or a full disk meanwhile leaves a file in which they can
neither be used nor made again ("table already exists"), and with which all tracking would end for good.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from cpmn.files import UNFINISHED, written_atomically
from cpmn.track.server import connect, locked

logger = logging.getLogger(__name__)

SQLITE = "sqlite:///"
COMPANIONS = ("-journal", "-wal", "-shm")  # of a file that is written to: taken for the new one's they would spoil it


def ready(uri: str) -> None:
    """Make the SQLite file that `uri` names, if it names one, under a temporary name; a half-made one is put aside.

    Whatever MLflow raises, OSError and sqlite3.Error where it cannot be made.
    """
    path = _file(uri)
    if path is None or _is_made(path):
        return
    with locked(path.with_name(f".{path.name}.lock")):
        if _is_made(path):  # another process was first
            return
        if path.exists():
            aside = path.with_name(f"{path.name}.half-made")
            logger.warning("MLflow: %s was left half made; it is now %s", path, aside.name)
            path.replace(aside)
        for end in COMPANIONS:
            path.with_name(path.name + end).unlink(missing_ok=True)
        for killed in path.parent.glob(f"{UNFINISHED}*-{path.name}*"):
            killed.unlink()
        with written_atomically(path) as temporary:
            connect(f"{SQLITE}{temporary}").search_experiments(max_results=1)  # the first call makes the tables


def _file(uri: str) -> Path | None:
    """The file of a SQLite address without options."""
    name = uri.removeprefix(SQLITE)
    return Path(name) if uri.startswith(SQLITE) and name and not {":", "?"} & set(name) else None


def _is_made(path: Path) -> bool:
    """Whether the file holds all that MLflow makes first, of which the default experiment is the last.

    Reading it also takes back what a killed writer left. What is no SQLite file at all is MLflow's to refuse, and what
    another process writes to is not touched.
    """
    if not path.is_file():
        return False
    if not path.stat().st_size:
        return False
    try:
        with closing(sqlite3.connect(path)) as opened:
            return opened.execute("SELECT count(*) FROM experiments").fetchone()[0] > 0
    except sqlite3.OperationalError as error:
        return "no such table" not in str(error)
    except sqlite3.DatabaseError:
        return True
