"""Scans that come as zip archives, unpacked where nothing in them can do harm."""

import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpmn.dicom.problem import SeriesProblem

LARGEST_COUNT = 100_000  # files in the archives of a scan; our choice: a study of many series has some 10,000
ENCRYPTED = 1  # bit of a member's flags


def files_below(source: Path) -> list[Path]:
    """All files below a folder, in order of their paths; `source` itself if it is a file."""
    return sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]


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
    with tempfile.TemporaryDirectory(prefix="cpmn-unzipped-") as folder:
        names = _unpack(archives, Path(folder), maximum_gb)
        try:
            yield files + [path for path in names if path.is_file()]
        except SeriesProblem as problem:
            problem.file = names.get(problem.file, problem.file) if problem.file else None
            raise


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
            problem = f"the zip archive is damaged ({error})"
            raise SeriesProblem(problem, "Send or export it again.", archive) from error
        with opened:
            yield from ((archive, opened, member) for member in opened.infolist() if not member.is_dir())


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, name: Path) -> None:
    if member.flag_bits & ENCRYPTED:
        raise SeriesProblem("the zip archive is encrypted", "Unpack it and give the folder.", name)
    target.parent.mkdir(exist_ok=True)
    try:
        with opened.open(member) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError) as error:
        raise SeriesProblem(
            f"the zip archive is damaged or packed in an unknown way ({error})",
            "Unpack it and give the folder, or send it again.",
            name,
        ) from error
