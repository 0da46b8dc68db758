"""Scans that come as zip archives, unpacked where nothing in them can do harm."""

import fcntl
import os
import shutil
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cpmn.dicom.problem import SeriesProblem
from cpmn.errors import blame_machine
from cpmn.files import BOUNDED_METHODS

PREFIX, LOCK = "cpmn-unzipped-", "in-use"
LARGEST_COUNT = 100_000  # files in the archives of a scan; our choice: a study of many series has some 10,000
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError)
ENCRYPTED = 1  # bit of a member's flags
OLD_SECONDS = 60.0  # a folder without a lock that is younger may be one that is being made


def files_below(source: Path) -> list[Path]:
    """All files below a folder, in order of their paths; `source` itself if it is a file. Links are followed.

    Raises OSError for a folder that may not be read, and SeriesProblem for a link that leads nowhere (git-annex leaves
    such ones): its files would be left out.
    """
    paths = paths_below(source)
    for path in paths:
        if leads_nowhere(path):
            raise SeriesProblem(
                "a link leads nowhere, and the file that it stands for is not there",
                "Copy the file to its place or fetch it (git annex get), or remove the link.",
                path,
            )
    return [path for path in paths if path.is_file()] if source.is_dir() else paths


def paths_below(source: Path) -> list[Path]:
    """As `files_below`, with whatever else is no folder: links that lead nowhere among them. Raises OSError alone."""
    if not source.is_dir():
        return [source]
    return sorted(path for folder, names in _folders(source) for path in map(folder.joinpath, names))


def files_there(source: Path) -> list[Path]:
    """As `files_below`, without a word of links that lead nowhere. Raises OSError alone."""
    return [path for path in paths_below(source) if path.is_file()]


def leads_nowhere(path: Path) -> bool:
    """Whether a path is a link without a target. Hidden ones are the work of programs, which lock files so (Emacs)."""
    return path.is_symlink() and not path.exists() and not path.name.startswith(".")


def _folders(source: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each real folder once, under its own name before that of a link; no link leads back to what holds `source`."""

    def give_up(error: OSError) -> None:
        raise error

    top, seen = source.resolve(), set()
    linked = [source]
    for start in linked:  # grows
        for name, inner, names in os.walk(start, onerror=give_up):
            folder = Path(name)
            real = folder.resolve()
            if real in seen or real in top.parents:
                inner.clear()
                continue
            seen.add(real)
            inner.sort()
            linked += [path for path in map(folder.joinpath, inner) if path.is_symlink()]
            yield folder, names


@contextmanager
def unzipped(source: Path, maximum_gb: float) -> Iterator[list[Path]]:
    """All files below `source` (or itself), where the members of .zip archives stand for the archives.

    Members are written to a temporary folder under numbers, so that their names cannot lead anywhere else; it is
    removed at the end. An archive inside an archive stays closed.

    Raises SeriesProblem for an archive that is damaged, encrypted, or too large in all; problems with a member that
    are raised inside name the archive and the member.
    """
    files = files_below(source)
    archives = [path for path in files if path.suffix.lower() == ".zip"]
    if not archives:
        yield files
        return
    files = [path for path in files if path not in set(archives)]
    with _temporary_folder() as folder:
        names = _unpack(archives, folder, maximum_gb)
        try:
            yield files + [path for path in names if path.is_file()]
        except SeriesProblem as problem:
            problem.file = names.get(problem.file, problem.file) if problem.file else None
            raise


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end; what a killed process left, named DICOM perhaps, is removed at the start."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, (Path(name) / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # it ends with the process, however that ends
        yield Path(name)


def _remove_if_left(folder: Path) -> None:
    """Remove a folder whose maker is gone; another user's stays, and one on a disk that knows no locks."""
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime > OLD_SECONDS:
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)


def _unpack(archives: list[Path], folder: Path, maximum_gb: float) -> dict[Path, Path]:
    """Write the members; what each written file and folder is called in its archive, for messages."""
    folders: dict[Path, Path] = {}
    names: dict[Path, Path] = {}
    left = maximum_gb * 1e9
    for archive, opened, member in _members(archives):
        left -= member.file_size  # the unpacked size as declared; zipfile gives no more than that
        if left < 0 or len(names) >= LARGEST_COUNT:
            raise SeriesProblem(
                f"the zip archives hold more than {maximum_gb:g} GB or {LARGEST_COUNT} files",
                "Give the scan's own series alone, or raise convert.maximum_unzipped_gb.",
                archive,
            )
        name = archive / member.filename
        target = folders.setdefault(name.parent, folder / str(len(folders))) / f"{len(names):06d}"
        names[target] = name
        _write(opened, member, target, name)
    return names | {target: name for name, target in folders.items()}


def _members(archives: list[Path]) -> Iterator[tuple[Path, zipfile.ZipFile, zipfile.ZipInfo]]:
    for archive in archives:
        try:
            opened = zipfile.ZipFile(archive)
        except (zipfile.BadZipFile, OSError, UnicodeDecodeError, NotImplementedError) as error:
            blame_machine(error)
            problem = f"the zip archive is damaged ({error})"
            raise SeriesProblem(problem, "Send or export it again.", archive) from error
        with opened:
            yield from ((archive, opened, member) for member in opened.infolist() if not member.is_dir())


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, name: Path) -> None:
    if member.flag_bits & ENCRYPTED:
        raise SeriesProblem("the zip archive is encrypted", "Unpack it and give the folder.", name)
    if member.compress_type not in BOUNDED_METHODS:
        raise SeriesProblem(
            "the zip archive is packed by another method than Deflate", "Unpack it and give the folder.", name
        )
    target.parent.mkdir(exist_ok=True)
    try:
        with opened.open(member) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)
    except (*DAMAGE, OSError) as error:
        blame_machine(error)
        raise SeriesProblem(
            f"the zip archive is damaged or packed in an unknown way ({error})",
            "Unpack it and give the folder, or send it again.",
            name,
        ) from error
