"""Small files of text: written so that a reader never sees half of one, read, and hashed."""

import csv
import hashlib
import json
import math
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

HEADERS = (".mhd", ".nhdr", ".hdr")  # image formats whose voxels lie in another file of the same name
VOXELS = (".raw", ".zraw", ".img")
LONGEST_HEADER = 1 << 20  # bytes; a list of 10,000 slices takes some hundred thousand
NAMES_VOXELS = re.compile(rb"(?:ElementDataFile\s*[=:]|data ?file\s*:(?!=))\s*(\S.*)", re.I)
NUMBERED = re.compile(r"(.*)%\d*[diu](\S*)(?:\s+-?\d+)*")  # a pattern of C's printf; first, last and step follow it
UNFINISHED = ".writing-"  # begins the name of a file that is being written
UMASK = os.umask(0o077)  # it can be read by setting it alone
os.umask(UMASK)
BOUNDED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""`zipfile` unpacks these in pieces of bounded size. Of the others, BZIP2 and LZMA, 450 bytes fill the memory."""


def files_of(image: Path) -> list[Path]:
    """The files of an image: itself; to a header belong the voxels of its name, compressed or not, and those that it
    names, wherever they lie. What is not there is left out."""
    if image.suffix.lower() not in HEADERS:
        return [image]
    alike = [(path, Path(path.name.removesuffix(".gz"))) for path in image.parent.iterdir()]
    voxels = {path for path, name in alike if name.stem == image.stem and name.suffix.lower() in VOXELS}
    return [image, *sorted((voxels | _named_voxels(image)) - {image})]


def _named_voxels(header: Path) -> set[Path]:
    """Files that a MetaImage or NRRD header names: one, those of a list below the line, or of a pattern (a%03d.raw)."""
    found: set[Path] = set()
    for name in _voxel_names(header):
        path = header.parent / os.fsdecode(name)
        found.add(path)
        if pattern := NUMBERED.fullmatch(path.name):
            one = re.compile(rf"{re.escape(pattern[1])}-?\d+{re.escape(pattern[2])}")
            with suppress(OSError):
                found |= {other for other in path.parent.iterdir() if one.fullmatch(other.name)}
    return {path for path in found if path.is_file()}


def _voxel_names(header: Path) -> list[bytes]:
    """What stands for the voxels in a header. None where it cannot be read, which its reader will say."""
    try:
        with header.open("rb") as stream:
            lines = [line.strip() for line in stream.read(LONGEST_HEADER).splitlines()]
    except OSError:
        return []
    for index, line in enumerate(lines):
        if stated := NAMES_VOXELS.fullmatch(line):
            listed = stated[1].split()[0] == b"LIST"
            return list(filter(None, lines[index + 1 :])) if listed else [stated[1]]
        if not line:  # the end of a NRRD header
            break
    return []


@contextmanager
def written_atomically(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffixes) and rename it onto `path` on success.

    On an exception the temporary file is removed and `path` is left as it was. What is renamed lies on the disk, so
    that a loss of power leaves the old file or the whole new one, and others may read it as the umask allows, which
    not every library's writer heeds.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.chmod(0o666 & ~UMASK)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(*folders: Path | str) -> None:
    """Remove what processes that were killed left half written in `folders`, into which one job alone may write."""
    for path in (path for folder in folders for path in Path(folder).glob(f"{UNFINISHED}*")):
        if not path.is_dir():
            path.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, data: Any) -> None:
    """Write JSON atomically; NaN and infinities become `null`, numpy scalars and paths become plain values."""
    write_text(path, json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file. Raises ValueError as `parse_json`."""
    return parse_json(Path(path).read_bytes())


def parse_json(content: bytes) -> Any:
    """Read JSON in UTF-8.

    Raises ValueError if it is none, holds NaN or infinity, which `write_json` never writes, or is nested too deeply.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file in UTF-8, with or without the mark that Excel writes first. Raises UnicodeDecodeError."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file atomically; None and NaN become empty cells.

    Floats keep every digit, as scores are compared, and whole numbers stay whole beside empty cells.
    """
    import pandas as pd  # takes 0.3 s, of which jobs without a table are spared

    table = pd.DataFrame(list(rows), columns=pd.Index(columns), dtype=object)
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_frame(path: Path) -> "pd.DataFrame":
    """Table of a CSV file, every digit kept; empty cells are NaN, and names of patients and variants are text.

    Raises pandas.errors.ParserError, EmptyDataError or UnicodeDecodeError, which are ValueErrors, if it is none.
    """
    import pandas as pd

    empty: dict[str, Any] = {"keep_default_na": False, "na_values": ""}  # a patient may be called NA
    names = dict.fromkeys(("patient_id", "variant", "versus"), str)  # of digits, perhaps
    return pd.read_csv(path, dtype=names, **empty, float_precision="round_trip")  # type: ignore[arg-type]


def read_test_rows(path: Path) -> "pd.DataFrame":
    """Rows of the test patients in a `patients.csv`, indexed by patient, as `read_frame` gives them."""
    table = read_frame(path)
    return table.set_index("patient_id").loc[table["split"].to_numpy() == "test"]


def sha256_of_files(paths: Iterable[Path | str]) -> str:
    """SHA-256 over the contents of the files, independent of their names and of the order given."""
    digests = sorted(_sha256(Path(path)) for path in paths)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def sha256_of_array(values: Any) -> str:
    """SHA-256 over shape, type and values of a numpy array: equal for equal voxels, however they were stored."""
    header = f"{values.shape} {values.dtype.str} ".encode()
    return hashlib.sha256(header + values.tobytes()).hexdigest()


def sha256_of_json(data: Any) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys)."""
    return hashlib.sha256(json.dumps(_plain(data), sort_keys=True).encode()).hexdigest()


def _refuse(text: str) -> float:
    raise ValueError(f"holds {text}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
