"""Which files a stage depends on beyond those that Snakemake sees by itself: its code, and a scan's slices."""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from cpmn.dicom.archive import files_there
from cpmn.errors import CpmnError
from cpmn.files import files_of, sha256_of_json

ROOT = Path(__file__).parents[2]
IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+(cpmn[\w.]*)[ \t]+)?import[ \t]+(\([^)]*\)|[^\n]+)", re.MULTILINE)
"""An import statement: the module after `from`, and what is imported."""


def source_files(module: str) -> list[str]:
    """Absolute paths of `module` (dotted, inside `cpmn`) and of every `cpmn` module that it imports, at any depth.

    Imports are read from the text, so that nothing is executed; those inside functions count too. To a module that
    names a template belong all templates beside it.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [*_imports(name), *_parents(name)]
    paths = {_path(name) for name in found}
    data = {file for path in paths if ".j2" in _text(path) for file in (path.parent / "templates").glob("*.j2")}
    return sorted(str(path) for path in paths | data)


def code_of(*modules: str) -> dict[str, str]:
    """By module, SHA-256 over its source files (see `source_files`): their paths in the project and contents.

    As a parameter of a rule it runs the rule again where code changed: Snakemake does not see that of imported modules.
    As inputs the forty files of each job were half of all that Snakemake had to look at.
    """
    return {module: _code(module) for module in modules}


def _code(module: str) -> str:
    paths = map(Path, source_files(module))
    return sha256_of_json([(str(path.relative_to(ROOT)), _text(path)) for path in paths])


def require_code(wanted: Mapping[str, str]) -> None:
    """Raise CpmnError unless the code is the one whose `code_of` this is: a job would be recorded with code that it did
    not run."""
    changed = [module for module, code in wanted.items() if _code(module) != code]
    if changed:
        raise CpmnError(f"the code of {', '.join(changed)} changed since this run began. Give the same command again.")


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def listing(scan: Path) -> str:
    """SHA-256 over path, size and time (s) of a file, or of the files below a folder: it changes with any of them.

    A folder's own time does not, and an older file that takes a file's place is not newer than what was made of it.
    Hidden files are left out, because a file browser writes them by itself. To a header belong its voxels.
    """
    if scan.is_dir():
        folder, files = scan, files_there(scan)
    else:
        folder, files = scan.parent, files_of(scan)
    facts = [(os.path.relpath(path, folder), path.stat()) for path in files if not path.name.startswith(".")]
    return sha256_of_json(sorted((name, found.st_size, int(found.st_mtime)) for name, found in facts))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Dotted names of the `cpmn` modules that `module` itself imports.

    By a pattern that finds what `ast` finds (tested): every start of Snakemake asks for all modules, and parsing them
    took it 0.9 s.
    """
    names = []
    for base, imported in IMPORT.findall(_text(_path(module))):
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
