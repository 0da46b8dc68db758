"""Which files a stage depends on beyond those that Snakemake sees by itself: its code, and a scan's slices."""

import hashlib
import re
from functools import cache
from pathlib import Path

from cpmn.dicom.archive import files_below

ROOT = Path(__file__).parents[2]
IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+(cpmn[\w.]*)[ \t]+)?import[ \t]+(\([^)]*\)|[^\n]+)", re.MULTILINE)
"""An import statement: the module after `from`, and what is imported."""


def source_files(module: str) -> list[str]:
    """Absolute paths of `module` (dotted, inside `cpmn`) and of every `cpmn` module that it imports, at any depth.

    Imports are read from the text, so that nothing is executed; those inside functions count too. Templates and other
    data files beside a package's modules belong to the package.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [*_imports(name), *_parents(name)]
    paths = {_path(name) for name in found}
    data = {file for path in paths for file in (path.parent / "templates").glob("*") if path.name != "__init__.py"}
    return sorted(str(path) for path in paths | data)


def code_hash(*modules: str) -> str:
    """SHA-256 over the source files of some modules (see `source_files`): their paths in the project and contents."""
    paths = sorted({path for module in modules for path in source_files(module)})
    facts = [(str(Path(path).relative_to(ROOT)), _digest(path)) for path in paths]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


@cache
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def listing(folder: Path) -> str:
    """SHA-256 over path, size and time (s) of the files below `folder`: changes with any of them, unlike its own time.

    Hidden files are left out, because a file browser writes them by itself.
    """
    files = [path for path in files_below(folder) if not path.name.startswith(".")]
    facts = [(str(path.relative_to(folder)), path.stat()) for path in files]
    rows = sorted((name, found.st_size, int(found.st_mtime)) for name, found in facts)
    return hashlib.sha256(repr(rows).encode()).hexdigest()


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Dotted names of the `cpmn` modules that `module` itself imports.

    By a pattern that finds what `ast` finds (tested): every start of Snakemake asks for all modules, and parsing them
    took it 0.9 s.
    """
    names = []
    for base, imported in IMPORT.findall(_path(module).read_text(encoding="utf-8")):
        parts = [re.sub(r"#.*", "", part).split(" as ")[0].strip(" ()\n") for part in imported.split(",")]
        names += [base, *(f"{base}.{part}" for part in parts if part)] if base else parts
    return tuple(name for name in names if name.split(".")[0] == "cpmn" and _exists(name))


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _path(module: str) -> Path:
    base = ROOT.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _exists(module: str) -> bool:
    return _path(module).is_file()
